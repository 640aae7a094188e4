"""event.recorded in, HTTP requests out: each destination at its own pace, one key in order."""
