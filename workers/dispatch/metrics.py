"""What dispatch tells Prometheus."""

from typing import Final

from prometheus_client import Counter

EVENTS: Final = Counter(
    "ringhook_events_total",
    "Webhooks by Ring's type and by outcome: published, duplicate, suffixed, republished, or why they were quarantined",
    ["type", "outcome"],
)
PRUNED: Final = Counter("ringhook_claims_pruned_total", "Claims deleted because they were older than any copy can be")
