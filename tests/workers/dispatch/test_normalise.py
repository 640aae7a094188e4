"""From Ring's bytes to the event partners receive, held by golden pairs: samples/NAME.json → samples/events/NAME.json."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from schemas import cloudevents, events
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import parse
from workers.dispatch.normalise import NOTHING, View, digest, normalise

SAMPLES = Path(__file__).parents[2] / "samples"
RECEIVED = datetime(2026, 2, 13, 13, 40, tzinfo=UTC)
LINKED = View(linked=True, partner_user="u-42")


def event_of(body: bytes, view: View = LINKED) -> events.Event:
    envelope = parse(body, RECEIVED)
    arrival = Arrival(request_id=envelope.request_id, type=envelope.type, received_at=RECEIVED, app="first")
    return normalise(envelope, arrival, body, envelope.account or "account-found-by-device", view)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_each_sample_becomes_the_event_beside_it(path: Path) -> None:
    body = path.read_bytes()
    event = event_of(body)
    assert bytes(event.data.payload) == body
    shown = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, payload=msgspec.Raw(b'"as it came"')))
    expected = json.loads((SAMPLES / "events" / path.name).read_bytes())
    assert json.loads(cloudevents.structured(shown, cloudevents.sequence(7))) == expected


def test_only_a_linked_account_names_the_partners_user() -> None:
    body = (SAMPLES / "motion_detected.json").read_bytes()
    assert event_of(body).partneruserid == "u-42"
    unlinked = [event_of(body, view) for view in (NOTHING, View(linked=False, partner_user="u-42"))]
    assert [(event.linked, event.partneruserid) for event in unlinked] == [(False, None)] * 2


def test_an_event_without_a_time_has_the_time_it_came() -> None:
    flat = (SAMPLES / "older.flat.json").read_bytes()
    assert event_of(flat).time == RECEIVED


def test_a_claims_digest_ignores_what_a_retry_may_change() -> None:
    first = (SAMPLES / "motion_detected.json").read_bytes()
    again = first.replace(b'"version": "1.1"', b'"version": "1.2"')
    assert again != first
    assert digest(parse(first, RECEIVED), "a", "app") == digest(parse(again, RECEIVED), "a", "app")
    assert digest(parse(first, RECEIVED), "a", "app") != digest(parse(first, RECEIVED), "b", "app")
    assert digest(parse(first, RECEIVED), "a", "app") != digest(parse(first, RECEIVED), "a", "another app")
