"""What the Kafka bus decides without Kafka: batches, where a lane starts, what of a topic is wrong."""

import pytest

from schemas.errors import Misconfigured
from schemas.topics import ACCOUNT_CHANGED, DAY, MESSAGE_LIMIT, WEBHOOK_RECEIVED
from workers.bus.contract import NOTE_LIMIT, Record, TooLarge
from workers.bus.kafka.acls import acls
from workers.bus.kafka.batch import BATCH_LIMIT, encode, size, slices
from workers.bus.kafka.consumer import complete, still_behind
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import pack, unpack
from workers.bus.kafka.lane import Found, expired, starting
from workers.bus.kafka.topics import Found as Topic
from workers.bus.kafka.topics import differences, mended, obstacle, wanted

AT = Place("alpha", 0)


def of(length: int) -> Record:
    return Record(topic="alpha", key=b"key", value=b"x" * length)


@pytest.mark.parametrize("number", [1, 50, 3_000])
def test_no_batch_is_larger_than_its_records_were_counted(number: int) -> None:
    records = [Record(topic="a", key=b"k" * 9, value=b"v" * 200, headers=(("ü" * 9, b"x" * 50),))] * number
    for batch in slices(records):
        assert len(encode(batch, (1, 0), 0, transactional=True)) <= sum(map(size, batch))
        assert sum(map(size, batch)) <= BATCH_LIMIT


def test_slices_keep_order_and_lose_nothing() -> None:
    records = [of(100_000 + n) for n in range(40)]
    assert [record for batch in slices(records) for record in batch] == records


def test_a_record_beyond_the_limit_is_too_large_and_one_at_it_fits_a_batch() -> None:
    assert size(of(MESSAGE_LIMIT - 3)) <= BATCH_LIMIT
    with pytest.raises(TooLarge):
        size(of(MESSAGE_LIMIT))


@pytest.mark.parametrize("note", [b"", bytes(range(256)), b"\xff" * NOTE_LIMIT])
def test_a_note_survives_as_offset_metadata_and_fits_it(note: bytes) -> None:
    assert unpack(pack(note)) == note
    assert len(pack(note)) <= 4_096


def test_metadata_that_others_wrote_is_no_note() -> None:
    assert unpack("héllo, operator") == b""


@pytest.mark.parametrize(
    ("committed", "starts", "gap"),
    [(None, 77, 0), (10, 10, 0), (20, 20, 0), (3, 10, 7)],
)
def test_a_lane_starts_as_committed_or_behind_a_gap_or_where_a_new_group_begins(committed, starts, gap) -> None:  # noqa: ANN001
    found = Found({AT: (committed, "")} if committed is not None else {}, {AT: 10}, {AT: 20}, {AT: 77})
    assert (starting(AT, found), expired(AT, found)) == (starts, gap)


def test_a_position_above_the_end_is_refused_with_the_remedy() -> None:
    with pytest.raises(Misconfigured, match="reset"):
        starting(AT, Found({AT: (21, "")}, {AT: 10}, {AT: 20}, {}))


def test_only_indexes_of_which_every_topic_is_assigned_open() -> None:
    assert complete([("a", 0), ("b", 0), ("a", 1), ("b", 2)], ["a", "b"]) == {0}


def test_a_stall_is_counted_from_when_records_were_first_seen_to_wait_at_a_position_that_does_not_move() -> None:
    idle, other = {AT: 5}, Place("alpha", 1)
    assert still_behind({}, idle, {AT: 5}, 1.0) == {}
    first = still_behind({}, idle, {AT: 6}, 2.0)
    assert first == {AT: (5, 2.0)}
    assert still_behind(first, idle, {AT: 9}, 7.0) == first
    assert still_behind(first, {AT: 6}, {AT: 9}, 7.0) == {AT: (6, 7.0)}  # it moves
    assert still_behind(first, idle, {}, 7.0) == {}  # the broker does not say
    assert still_behind(first, {}, {AT: 9}, 7.0) == {}  # paused: the lane has enough
    assert still_behind(first, {AT: None, other: None}, {AT: 9, other: 0}, 7.0) == {AT: (None, 7.0)}


def good(**changes: str) -> Topic:
    return Topic(WEBHOOK_RECEIVED.partitions, 3, wanted(WEBHOOK_RECEIVED, single_broker=False) | changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message.timestamp.type", "CreateTime"),
        ("cleanup.policy", "compact"),
        ("retention.ms", "1000"),
        ("retention.bytes", "1000000"),
        ("segment.ms", str(7 * 86_400_000)),
        ("max.message.bytes", "1000"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_each_setting_that_endangers_the_promise_is_named_and_mended(name: str, value: str) -> None:
    found = good(**{name: value})
    [words] = differences(WEBHOOK_RECEIVED, found, single_broker=False)
    assert words.startswith(f"{name} is {value}, needed is ")
    assert list(mended(WEBHOOK_RECEIVED, found, single_broker=False)) == [name]


def test_more_than_needed_is_no_difference() -> None:
    more = {"retention.ms": "-1", "max.message.bytes": "9999999", "min.insync.replicas": "3", "segment.ms": "1000"}
    assert differences(WEBHOOK_RECEIVED, good(**more), single_broker=False) == []


def test_replicas_partitions_and_absence_are_named() -> None:
    assert differences(WEBHOOK_RECEIVED, None, single_broker=False) == ["is missing"]
    few = Topic(24, 1, good().configs)
    assert [words.split(":")[0].split(",")[0] for words in differences(WEBHOOK_RECEIVED, few, single_broker=False)] == [
        "has 24 partitions",
        "has 1 replicas",
    ]
    assert len(differences(WEBHOOK_RECEIVED, few, single_broker=True)) == 1


@pytest.mark.parametrize(
    ("brokers", "replicas", "creating", "words"),
    [
        (1, [], True, "the cluster has 1 of the 3 brokers"),
        (2, [3], True, "the cluster has 2 of the 3 brokers"),
        (1, [1], False, "nothing could be published"),
        (3, [3, 1], True, "topic-1: 2 replicas must be in sync"),
        (3, [3, 2], True, None),
        (2, [3], False, None),
    ],
)
def test_topics_that_nothing_could_be_published_to_are_not_made(
    brokers: int, replicas: list[int], *, creating: bool, words: str | None
) -> None:
    found = {f"topic-{number}": Topic(12, count, {}) for number, count in enumerate(replicas)}
    why = obstacle(brokers, found, creating=creating)
    assert (why is None) if words is None else (why is not None and words in why and "RINGHOOK_SINGLE_BROKER=yes" in why)


def test_segments_roll_within_a_quarter_of_what_is_kept() -> None:
    for topic in (WEBHOOK_RECEIVED, ACCOUNT_CHANGED):
        kept = topic.retention or 4 * DAY
        assert int(wanted(topic, single_broker=True)["segment.ms"]) * 4 <= kept.total_seconds() * 1000


def test_acls_let_write_and_read_whom_the_topic_names_and_nobody_else() -> None:
    lines = [line for line in acls("ns", [WEBHOOK_RECEIVED]) if "webhook.received" in line]
    kinds = ("Write", "Read", "AlterConfigs")
    who = {(line.split('"User:ns-')[1].split('"')[0], next(kind for kind in kinds if kind in line)) for line in lines}
    writes = {("ingress", "Write"), ("dispatch", "Write"), ("admin", "Write")}
    assert who == writes | {("dispatch", "Read"), ("admin", "AlterConfigs")}
