"""What the linker tells Prometheus."""

from typing import Final

from prometheus_client import Counter, Histogram

STEPS: Final = Counter("ringhook_link_steps_total", "Steps of linking by what became of them", ["step", "outcome"])
MARGIN: Final = Histogram(
    "ringhook_link_deadline_margin_seconds",
    "Time left when a step with a deadline was sent: the code's 60 s (exchange), the nonce's 600 s (post)",
    ["step"],
    buckets=(0, 1, 5, 10, 20, 30, 40, 50, 55, 60, 120, 300, 450, 550, 590, 600),
)
RING_SECONDS: Final = Histogram("ringhook_ring_call_seconds", "How long Ring took to answer", ["call"])
MATCH_SECONDS: Final = Histogram("ringhook_link_match_seconds", "How long the search for a nonce's grant took")
ENDED: Final = Counter("ringhook_links_total", "Links by the state they came to", ["state"])
ANNOUNCED: Final = Counter("ringhook_accounts_announced_total", "Versions of accounts published on account.changed")
