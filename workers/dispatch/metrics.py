"""What dispatch tells Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

EVENTS: Final = Counter(
    "ringhook_events_total",
    "Webhooks by Ring's type and by outcome: published, duplicate, suffixed, republished, waiting, "
    "stopped (the account was forgotten), probe (the doctor's), or why they were quarantined",
    ["type", "outcome"],
)
PRUNED: Final = Counter("ringhook_claims_pruned_total", "Claims deleted because they were older than any copy can be")
WAITING: Final = Gauge("ringhook_waiting_events", "Events that wait until their account is linked", ["lane"])
WAITING_AGE: Final = Gauge(
    "ringhook_waiting_oldest_age_seconds", "How long the oldest of these has waited; 0: none waits", ["lane"]
)
LEFT: Final = Counter(
    "ringhook_waiting_ended_total",
    "Events that wait no more, by what became of them: released (the link is complete), expired (published as not linked), "
    "overflowed (too many waited: a dead letter), cancelled (the user removed the app), "
    "other_app (signed by an app that the account is not linked by: a dead letter), unreadable (a dead letter that says why)",
    ["how"],
)
