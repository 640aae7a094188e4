"""Our events as CloudEvents 1.0, read by the package a partner would use."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from cloudevents.http import from_json
from cloudevents.kafka import KafkaMessage, from_binary
from hypothesis import given
from hypothesis import strategies as st

from schemas import cloudevents
from schemas.errors import Rejected
from schemas.events import Event, EventData
from schemas.ring.envelope import Subscription

PAYLOAD = b'{"meta": {"request_id":"r1", "n": 1.10},\n "data": {"type":"motion_detected","name":"T\xc3\xbcr"}}'
EVENT = Event(
    id="r1",
    type="com.ring.motion_detected",
    subject="dev-1",
    time=datetime(2026, 2, 13, 13, 39, 57, 200155, tzinfo=UTC),
    accountid="ava1.ring.account.A",
    partneruserid="ü-42",
    linked=True,
    data=EventData(
        received_at=datetime(2026, 2, 13, 13, 40, tzinfo=UTC),
        motion="human",
        component_ids=("1", "2"),
        subscription=Subscription(id="s", kind="trial"),
        payload=msgspec.Raw(PAYLOAD),
    ),
)
BARE = msgspec.structs.replace(EVENT, subject=None, partneruserid=None, linked=False, recovered=True)


@pytest.mark.parametrize("event", [EVENT, BARE])
def test_the_package_reads_the_record_on_kafka(event: Event) -> None:
    headers, value = cloudevents.binary(event)
    read = from_binary(KafkaMessage(dict(headers), event.accountid.encode(), value))
    assert (read["id"], read["type"], read["source"], read["specversion"]) == (event.id, event.type, event.source, "1.0")
    assert read["accountid"] == event.accountid
    assert (read.get("subject"), read.get("partneruserid")) == (
        event.subject,
        event.partneruserid,
    )
    assert (read["linked"], read["recovered"]) == (str(event.linked).lower(), str(event.recovered).lower())
    assert (read["time"], read["datacontenttype"]) == ("2026-02-13T13:39:57.200155Z", "application/json")
    assert read.data["payload"] == json.loads(PAYLOAD)
    assert read.data["motion"] == "human"


@pytest.mark.parametrize("event", [EVENT, BARE])
def test_the_package_reads_the_http_body(event: Event) -> None:
    read = from_json(cloudevents.structured(event, cloudevents.sequence(77)))
    assert (read["id"], read["type"], read["source"], read["specversion"]) == (event.id, event.type, event.source, "1.0")
    assert (read.get("subject"), read.get("partneruserid")) == (event.subject, event.partneruserid)
    assert (read["linked"], read["recovered"]) == (event.linked, event.recovered)
    assert read["sequence"] == "00000000000000000077"
    assert read.data["payload"] == json.loads(PAYLOAD)


def test_absent_attributes_are_left_out() -> None:
    assert not {"ce_subject", "ce_partneruserid"} & dict(cloudevents.binary(BARE)[0]).keys()
    assert not {"subject", "partneruserid"} & json.loads(cloudevents.structured(BARE, "1")).keys()


def test_extension_names_are_lower_case_letters_and_digits() -> None:
    assert all(name.removeprefix("ce_").isalnum() and name.islower() for name, _ in cloudevents.binary(EVENT)[0][1:])


def test_rings_payload_is_carried_byte_for_byte() -> None:
    headers, value = cloudevents.binary(EVENT)
    assert PAYLOAD in value
    assert bytes(cloudevents.read(headers, value).data.payload) == PAYLOAD
    assert PAYLOAD in cloudevents.structured(cloudevents.read(headers, value), "1")


@pytest.mark.parametrize("event", [EVENT, BARE])
def test_what_is_written_is_read_also_beside_newer_attributes(event: Event) -> None:
    headers, value = cloudevents.binary(event)
    newer = b'{"invented":1,' + value[1:]
    assert cloudevents.read((*headers, ("ce_invented", b"x"), ("traceparent", b"\xff")), newer) == event


def test_sequence_sorts_as_text() -> None:
    assert cloudevents.sequence(9) < cloudevents.sequence(10) < cloudevents.sequence(2**63)


def test_a_value_nested_beyond_recursion_is_rejected() -> None:
    deep = b'{"received_at":"2026-02-13T13:40:00Z","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(Rejected):
        cloudevents.read(cloudevents.binary(EVENT)[0], deep)


NAMES = ("ce_id", "ce_type", "ce_time", "ce_linked", "ce_accountid", "ce_source", "ce_partneruserid")


@given(st.dictionaries(st.sampled_from(NAMES), st.binary()), st.binary() | st.just(b"[" * 100_000))
def test_any_record_is_read_or_rejected(damage: dict[str, bytes], value: bytes) -> None:
    headers = {**dict(cloudevents.binary(EVENT)[0]), **damage}
    with pytest.raises(Rejected):
        cloudevents.read(headers.items(), value)
