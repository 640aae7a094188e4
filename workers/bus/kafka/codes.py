"""Kafka's error codes that we branch on: https://kafka.apache.org/protocol#protocol_error_codes."""

from typing import ClassVar, Final

from aiokafka.errors import kafka_errors

from schemas.errors import Unavailable
from workers.bus.contract import BusUnavailable

NONE: Final = 0
OUT_OF_RANGE: Final = 1  # an offset that has expired, or does not exist yet
CONCURRENT_TRANSACTIONS: Final = 51  # the former transaction's markers are still being written
DUPLICATE_SEQUENCE: Final = 46  # the batch is already in the log: as good as a confirmation
MESSAGE_TOO_LARGE: Final = 10  # the topic takes less than we declare: `ringhook topics check` says so
UNSTABLE_OFFSETS: Final = 88
TOPIC_EXISTS: Final = 36
TOPIC_DENIED: Final = 29
INVALID_REPLICATION_FACTOR: Final = 38
DENIED: Final = frozenset({TOPIC_DENIED, 31})  # topic, cluster: the user may not do that

LEADER_MOVED: Final = frozenset({3, 5, 6, 9, 56, 74, 75, 78})
COORDINATOR_MOVED: Final = frozenset({14, 15, 16})
PATIENCE: Final = frozenset({7, 19, 20, 89, 120, CONCURRENT_TRANSACTIONS})  # time-outs, few replicas, throttling
AGAIN: Final = LEADER_MOVED | COORDINATOR_MOVED | PATIENCE
REBALANCE_IN_PROGRESS: Final = 27  # we are members still, and may commit, until the group is dealt anew
EXPELLED: Final = frozenset({22, 25, REBALANCE_IN_PROGRESS, 82})  # illegal generation, unknown member, …, fenced instance
FENCED: Final = frozenset({47, 90})  # another producer holds the transactional id now


class Broken(BusUnavailable):
    """The connection failed or was silent: the request may or may not have been carried out."""


class Refused(Unavailable):
    """Kafka answered with an error: the request was not carried out."""

    plight: ClassVar[str] = "the bus (RINGHOOK_BUS_URL) answers with an error"

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: Kafka says {spelt(code)}" if code else what)
        self.code = code


def spelt(code: int) -> str:
    """Return Kafka's own name of an error, with its number, under which it can be looked up."""
    known = kafka_errors.get(code)
    return f"{known.message} ({code})" if known else f"error {code}"
