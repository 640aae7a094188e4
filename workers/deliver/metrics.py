"""What deliver tells Prometheus. Destinations are a closed set: those of ringhook.toml."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS: Final = Counter(
    "ringhook_delivery_attempts_total",
    "HTTP attempts by outcome: accepted, refused, failed, throttled, gone, or why no answer; none made: cancelled, unwanted",
    ["destination", "outcome"],
)
LATENCY: Final = Histogram(
    "ringhook_delivery_latency_seconds",
    "From Ring's webhook taken to the destination's 2xx",
    ["destination"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400),
)
ATTEMPT_SECONDS: Final = Histogram(
    "ringhook_delivery_attempt_seconds",
    "One HTTP attempt, until its answer or failure",
    ["destination"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT: Final = Gauge("ringhook_delivery_in_flight", "Requests under way", ["destination"])
ALLOWED: Final = Gauge(
    "ringhook_delivery_in_flight_allowed",
    "Requests that may be under way: `concurrency`, or fewer after the destination failed or refused some as too many",
    ["destination"],
)
OLDEST: Final = Gauge(
    "ringhook_delivery_oldest_undelivered_age_seconds", "Age of the oldest event taken up and not finished", ["destination"]
)
STATE: Final = Gauge(
    "ringhook_delivery_destination_state",
    "1 for the state a destination is in: well, throttled, failing, gone, paused",
    ["destination", "state"],
)
DEAD: Final = Counter("ringhook_delivery_dead_letters_total", "Events buried", ["destination", "reason"])
SKIPPED: Final = Counter(
    "ringhook_delivery_skipped_total", "Events that its filter does not want, or of unlinked accounts", ["destination"]
)
PARKED: Final = Counter(
    "ringhook_delivery_parked_total",
    "Events that moved to rows, because one of their key was not accepted in time",
    ["destination"],
)
WAITING: Final = Gauge(
    "ringhook_delivery_waiting_events", "Events that wait in rows, in the lanes of this process", ["destination"]
)
GAPS: Final = Counter(
    "ringhook_delivery_expired_unread_total",
    "Events that the bus dropped by age before this destination read them",
    ["destination"],
)
FACTS_LOST: Final = Counter(
    "ringhook_delivery_attempt_records_lost_total", "Attempts that delivery.attempted does not tell", ["destination"]
)
_STATES: Final = ("well", "throttled", "failing", "gone", "paused")


@cache
def attempt(destination: str, outcome: str) -> Counter:
    """Return the counter of one outcome; looking it up by labels each time costs more than counting."""
    return ATTEMPTS.labels(destination=destination, outcome=outcome)


def watch(
    destination: str,
    *,
    flying: Callable[[], int],
    allowed: Callable[[], int],
    waiting: Callable[[], int],
    oldest: Callable[[], float],
    state: Callable[[], str],
) -> None:
    """Read these gauges from the running delivery whenever they are asked for."""
    IN_FLIGHT.labels(destination=destination).set_function(flying)
    ALLOWED.labels(destination=destination).set_function(allowed)
    WAITING.labels(destination=destination).set_function(waiting)
    OLDEST.labels(destination=destination).set_function(oldest)
    for name in _STATES:
        STATE.labels(destination=destination, state=name).set_function(partial(_is, state, name))


def unwatch(destination: str) -> None:
    """Forget the gauges of a delivery that ended."""
    for gauge, labels in ((IN_FLIGHT, ()), (ALLOWED, ()), (WAITING, ()), (OLDEST, ()), *((STATE, (name,)) for name in _STATES)):
        with suppress(KeyError):
            gauge.remove(destination, *labels)


def _is(state: Callable[[], str], name: str) -> float:
    return float(state() == name)
