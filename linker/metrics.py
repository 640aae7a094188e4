"""What the linker tells Prometheus, and the one log line of each sign-in's end."""

from collections.abc import Iterable
from typing import Final, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

from linker.rows import End

log = structlog.get_logger()
Step = Literal["exchange", "identify", "match", "post", "patch", "refresh", "devices"]
Result = Literal[
    "done",
    "refused",  # the answer was no
    "unclear",  # nobody knows whether Ring acted
    "unavailable",  # Ring did not take it up
    "unauthorised",  # the access token is to be renewed first
    "superseded",  # another linker moved the row meanwhile
    "waiting",  # not tried: no budget, or no grant for this sign-in yet
]

STEPS: Final = Counter(
    "ringhook_link_steps_total",
    "Calls to Ring, and a sign-in's looks for its grant, by what became of them",
    ["step", "outcome"],
)
CRASHES: Final = Counter(
    "ringhook_link_step_crashes_total",
    "Steps of links, and looks for grants, that a bug ended; each is done again after its lease",
)
MARGIN: Final = Histogram(
    "ringhook_link_deadline_margin_seconds",
    "Time left when a step with a deadline was sent: the code's 60 s (exchange), the nonce's 600 s (post)",
    ["step"],
    buckets=(0, 1, 5, 10, 20, 30, 40, 50, 55, 60, 120, 300, 450, 550, 590, 600),
)
RING_SECONDS: Final = Histogram("ringhook_ring_call_seconds", "How long Ring took to answer", ["call"])
WAITED: Final = Histogram(
    "ringhook_ring_budget_wait_seconds",
    "How long a call waited for its place among the requests that Ring gets in a second; those that gave up too",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
MATCH_SECONDS: Final = Histogram("ringhook_link_match_seconds", "How long the search for a nonce's grant took")
ENDED: Final = Counter(
    "ringhook_links_total",
    "Sign-ins (attempt) and codes (grant) by how they ended, each once; a completed grant again when it is lost or removed",
    ["what", "state"],
)
PRUNED: Final = Counter("ringhook_link_rows_pruned_total", "Codes and sign-ins deleted long after they ended")
ANNOUNCED: Final = Counter("ringhook_accounts_announced_total", "Versions of accounts published on account.changed")
FAMILIES_LOST: Final = Counter(
    "ringhook_token_families_lost_total",
    "Grants whose tokens nobody can renew any more: their users must connect the app again",
    ["reason"],
)
AT_RISK: Final = Gauge(
    "ringhook_accounts_at_risk",
    "Accounts that will have to be connected again, or that may have to; every linker tells the same of all (take the max)",
    ["reason"],
)
LENT: Final = Counter(
    "ringhook_broker_requests_total",
    "Access tokens that services asked for: lent, refused, put off until later, or of an unknown account",
    ["outcome"],
)
VAULT_ROWS: Final = Gauge(
    "ringhook_vault_rows",
    "Links whose tokens are not sealed with the first vault key: one that is being replaced (older), or not configured (missing)",
    ["key"],
)
RESEALED: Final = Counter("ringhook_vault_resealed_total", "Links whose tokens were sealed again under the first vault key")


def stepped(step: Step, result: Result) -> None:
    """Count one step."""
    STEPS.labels(step, result).inc()


def ended(ends: Iterable[End]) -> None:
    """Count what came to an end, once that is committed, and log each sign-in that did."""
    for end in ends:
        ENDED.labels(end.what, end.state).inc()
        if end.risk:
            FAMILIES_LOST.labels(end.risk.removeprefix("lost_")).inc()
        if end.what == "attempt":  # the ends of grants are among their `link.moved`
            tell = log.warning if end.state == "contested" else log.info
            tell("link.ended", attempt=end.attempt, state=end.state, why=end.why)
