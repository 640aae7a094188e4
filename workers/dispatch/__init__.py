"""webhook.received and account.changed in, event.recorded out: each event once."""
