"""What aiokafka 0.14 does not speak of exactly-once v2 (KIP-447): fenced offsets in transactions, stable reads of them.

TxnOffsetCommit v3 carries member id and generation, so that a commit of a former generation is refused. OffsetFetch v7
with `require_stable` waits for pending transactions. InitProducerId v4 renews an epoch only for its present holder.
DescribeTransactions and ListTransactions (KIP-664) say how a coordinator has ended a transaction, and which it knows.
Schemas: https://kafka.apache.org/protocol#protocol_messages
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

TEXT: Final = CompactString("utf-8")
TAGS: Final = ("tags", TaggedFields)
UNTAGGED: Final[Mapping[int, bytes]] = {}


class Place(NamedTuple):
    """A partition by its topic's physical name; equals aiokafka's TopicPartition."""

    topic: str
    partition: int


class Ask:
    """One request in exactly one version; a broker that does not speak it is too old."""

    def __init__(self, struct: Any) -> None:  # noqa: ANN401 (aiokafka ships no types)
        self._struct = struct
        self.name: str = type(struct).__name__

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:  # noqa: ANN401 (aiokafka ships no types)
        """Return the struct that goes over the wire; called by aiokafka's connection."""
        low, high = versions.get(self._struct.API_KEY, (0, -1))
        if not low <= self._struct.API_VERSION <= high:
            raise IncompatibleBrokerVersion(f"{self.name}: brokers ≥ 4.0 are needed")
        return self._struct


def _struct(name: str, key: int, version: int, request: Schema, response: Schema, *, flexible: bool = True) -> Any:  # noqa: ANN401
    about = {"API_KEY": key, "API_VERSION": version}
    answer = type(f"{name}Response", (Response,), {**about, "SCHEMA": response})
    extra = {"SCHEMA": request, "RESPONSE_TYPE": answer, "FLEXIBLE_VERSION": flexible}
    return type(f"{name}Request", (RequestStruct,), {**about, **extra})


def _by_topic(*fields: tuple[str, Any]) -> tuple[str, Any]:
    return "topics", CompactArray(("name", TEXT), ("partitions", CompactArray(("index", Int32), *fields, TAGS)), TAGS)


_InitProducerId = _struct(
    "InitProducerId",
    22,
    4,
    Schema(("transactional_id", TEXT), ("timeout_ms", Int32), ("producer_id", Int64), ("producer_epoch", Int16), TAGS),
    Schema(("throttle_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16), TAGS),
)
_TxnOffsetCommit = _struct(
    "TxnOffsetCommit",
    28,
    3,
    Schema(
        ("transactional_id", TEXT),
        ("group", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation", Int32),
        ("member_id", TEXT),
        ("instance_id", TEXT),
        _by_topic(("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT)),
        TAGS,
    ),
    Schema(("throttle_ms", Int32), _by_topic(("error_code", Int16)), TAGS),
)
_OffsetFetch = _struct(
    "OffsetFetch",
    9,
    7,
    Schema(
        ("group", TEXT),
        ("topics", CompactArray(("name", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
        ("require_stable", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_ms", Int32),
        _by_topic(("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT), ("error_code", Int16)),
        ("error_code", Int16),
        TAGS,
    ),
)
_DescribeTransactions = _struct(
    "DescribeTransactions",
    65,
    0,
    Schema(("transactional_ids", CompactArray(TEXT)), TAGS),
    Schema(
        ("throttle_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", TEXT),
                ("state", TEXT),
                ("timeout_ms", Int32),
                ("started_at_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", CompactArray(("name", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
_ListTransactions = _struct(
    "ListTransactions",
    66,
    0,
    Schema(("states", CompactArray(TEXT)), ("producer_ids", CompactArray(Int64)), TAGS),
    Schema(
        ("throttle_ms", Int32),
        ("error_code", Int16),
        ("unknown_states", CompactArray(TEXT)),
        ("transactions", CompactArray(("transactional_id", TEXT), ("producer_id", Int64), ("state", TEXT), TAGS)),
        TAGS,
    ),
)
_IncrementalAlterConfigs = _struct(
    "IncrementalAlterConfigs",
    44,
    0,
    Schema(
        (
            "resources",
            Array(
                ("type", Int8),
                ("name", String("utf-8")),
                ("configs", Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8")))),
            ),
        ),
        ("validate_only", Boolean),
    ),
    Schema(
        ("throttle_ms", Int32),
        ("responses", Array(("error_code", Int16), ("error", String("utf-8")), ("type", Int8), ("name", String("utf-8")))),
    ),
    flexible=False,
)


def init_producer_id(transactional_id: str | None, timeout_ms: int, producer_id: int = -1, epoch: int = -1) -> Ask:
    """Ask for a producer id; given the present one and its epoch, ask for the next epoch, which only its holder gets."""
    return Ask(_InitProducerId(transactional_id, timeout_ms, producer_id, epoch, UNTAGGED))


def txn_offset_commit(
    transactional_id: str,
    producer: tuple[int, int],
    membership: tuple[str, str, int],
    offsets: Mapping[Place, tuple[int, str]],
) -> Ask:
    """Ask to make offsets and their metadata a part of the transaction; `membership` is group, member id, generation."""
    group, member_id, generation = membership
    rows = {place: (place[1], offset, -1, metadata, UNTAGGED) for place, (offset, metadata) in offsets.items()}
    return Ask(_TxnOffsetCommit(transactional_id, group, *producer, generation, member_id, None, _topics(rows), UNTAGGED))


def offset_fetch(group: str, places: Sequence[Place], *, stable: bool = True) -> Ask:
    """Ask what is committed; with `stable` an unfinished transaction answers error 88 instead of an old position."""
    return Ask(_OffsetFetch(group, _topics({place: place[1] for place in places}), stable, UNTAGGED))


def describe_transaction(transactional_id: str) -> Ask:
    """Ask how the last transaction of this id stands: Ongoing, PrepareCommit, CompleteAbort, …"""
    return Ask(_DescribeTransactions([transactional_id], UNTAGGED))


def list_transactions(states: Sequence[str]) -> Ask:
    """Ask a broker which transactional ids it coordinates whose last transaction stands so."""
    return Ask(_ListTransactions([*states], [], UNTAGGED))


def alter_configs(configs: Mapping[str, Mapping[str, str]]) -> Ask:
    """Ask to set these configurations of these topics, and to leave all others as they are."""
    topic, put = 2, 0
    rows = [(topic, name, [(key, put, value) for key, value in values.items()]) for name, values in configs.items()]
    return Ask(_IncrementalAlterConfigs(rows, False))  # noqa: FBT003 (validate_only)


def _topics(rows: Mapping[Place, Any]) -> list[tuple[str, list[Any], Mapping[int, bytes]]]:
    by_topic: dict[str, list[Any]] = {}
    for (topic, _), row in rows.items():
        by_topic.setdefault(topic, []).append(row)
    return [(topic, found, UNTAGGED) for topic, found in by_topic.items()]
