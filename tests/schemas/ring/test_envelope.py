"""Every documented type and every quirk of ring-contract.md §4, against golden samples."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Rejected
from schemas.ring import envelope
from schemas.ring.envelope import parse
from schemas.ring.peek import peek

SAMPLES = Path(__file__).parents[2] / "samples"
GOOD = sorted(SAMPLES.glob("*.json"))
BAD = sorted((SAMPLES / "quarantined").iterdir())
NOW = datetime(2026, 2, 13, 13, 40, tzinfo=UTC)
ACCOUNT = json.loads((SAMPLES / "motion_detected.json").read_bytes())["meta"]["account_id"]


def sample(name: str) -> envelope.Envelope:
    return parse((SAMPLES / f"{name}.json").read_bytes(), NOW)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_peek_and_the_full_parse_agree_on_every_sample(path: Path) -> None:
    body = path.read_bytes()
    whole, seen = parse(body, NOW), peek(body)
    assert (seen.request_id, seen.account, seen.device, seen.type) == (whole.request_id, whole.account, whole.device, whole.type)
    assert seen.time == whole.time_text
    assert seen.key


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_cannot_be_an_event_is_rejected_with_its_reason(path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        parse(path.read_bytes(), NOW)
    assert rejected.value.reason == path.name.split(".")[0]


def test_every_documented_type_has_a_sample() -> None:
    assert {parse(path.read_bytes(), NOW).type for path in GOOD} >= envelope.TYPES


@pytest.mark.parametrize(
    ("name", "motion"),
    [
        ("motion_detected", "human"),
        ("motion_detected.attributes_sub_type", "vehicle"),
        ("motion_detected.attributes_subType", "package"),
        ("motion_detected.data_sub_type", "animal"),
        ("motion_detected.newer_class", "bicycle"),
        ("button_press", None),
        ("subscription_activated", None),
    ],
)
def test_the_motion_class_is_found_in_all_four_places_and_newer_words_pass(name: str, motion: str | None) -> None:
    assert sample(name).motion == motion


@pytest.mark.parametrize(
    ("name", "ids"), [("components_text", ("1", "2")), ("components_ints", ("1", "2")), ("components_null", ())]
)
def test_component_ids_are_text_whatever_ring_sent(name: str, ids: tuple[str, ...]) -> None:
    assert sample(f"motion_detected.{name}").component_ids == ids


def test_the_request_id_of_a_sensor_is_taken_as_it_is() -> None:
    assert sample("flood_detected").request_id.endswith("-1770989997200-water_detecte")


def test_nanoseconds_are_trimmed_and_the_text_is_kept() -> None:
    found = sample("motion_detected")
    assert found.time == datetime(2026, 2, 13, 13, 39, 57, 200155, tzinfo=UTC)
    assert found.time_text == "2026-02-13T13:39:57.200155525Z"


def test_subscriptions_say_their_plan_their_end_and_their_devices() -> None:
    paid, trial, over = (sample(f"subscription_{name}") for name in ("activated", "activated.trial", "deactivated"))
    assert paid.subscription
    assert trial.subscription
    assert over.subscription
    assert (paid.subscription.kind, paid.subscription.plan, len(paid.subscription.devices)) == ("paid", "protect_plus", 2)
    assert (trial.subscription.kind, trial.subscription.plan, trial.subscription.expires_at) == (
        "trial",
        None,
        "2026-03-13T00:00:00Z",
    )
    assert over.subscription.expires_at is None
    assert (paid.device, trial.device) == (None, trial.subscription.devices[0])
    assert paid.time is not None


def test_an_event_about_an_account_names_it_in_its_source() -> None:
    found = sample("v1_0.account_in_source")
    assert (found.account, found.device, found.version) == (ACCOUNT, None, "1.0")
    assert sample("app_integration_removed").account == ACCOUNT


def test_version_1_0_leaves_the_account_to_the_device() -> None:
    found = sample("v1_0.without_account")
    assert found.account is None
    assert found.device


def test_without_a_usable_request_id_the_body_names_itself() -> None:
    bodies = [b'{"data":{"type":"x"}}', b'{"meta":{"request_id":7},"data":{"type":"x"}}']
    bodies += [b'{"meta":{"request_id":"%s"},"data":{"type":"x"}}' % text for text in (b"", b"a" * 257, b"a\\u0000b")]
    found = [parse(body, NOW).request_id for body in bodies]
    assert all(text.startswith("sha256:") and len(text) == 71 for text in found)
    assert len(set(found)) == len(bodies)


def test_older_shapes_are_accepted_as_unrecognised() -> None:
    inside, flat = sample("older.event_type_inside"), sample("older.flat")
    assert (inside.type, inside.recognised, flat.type, flat.recognised) == ("motion_detected", False, "button_press", False)
    assert inside.device == flat.device
    assert flat.device
    assert sample("unknown_type").recognised


def test_the_device_is_read_from_any_form_of_its_link() -> None:
    assert sample("absolute_device_link").device == sample("device_offline").device


def nested(depth: int) -> bytes:
    return b'{"data":{"type":"x","more":' + b"[" * depth + b"]" * depth + b"}}"


def test_what_common_parsers_cannot_read_is_quarantined() -> None:
    wide = b'{"data":{"type":"x","more":[' + b"[]," * 5_000 + b"[{}]]}}"
    assert all(parse(body, NOW).type == "x" for body in (wide, nested(envelope.MAX_DEPTH - 2)))
    for depth in (envelope.MAX_DEPTH - 1, 1_000):
        with pytest.raises(Rejected) as rejected:
            parse(nested(depth), NOW)
        assert rejected.value.reason == "too_deep"


def test_age_is_judged_by_when_the_body_came() -> None:
    body = (SAMPLES / "motion_detected.json").read_bytes()
    sent = parse(body, NOW).time
    assert sent
    assert parse(body, sent + timedelta(days=13)).time == sent
    with pytest.raises(Rejected):
        parse(body, sent + timedelta(days=13, seconds=1))


def test_labels_come_from_a_closed_set() -> None:
    assert [envelope.label(kind) for kind in ("button_press", "glass_break_heard", None)] == ["button_press", "other", "other"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(("id", "type", "self", "source", "devices")), inner)
    ),
)
NAMES = ("version", "time", "request_id", "account_id", "event_type", "device_id")
META = st.dictionaries(st.sampled_from(NAMES), JSON)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("source", "source_type", "timestamp", "sub_type", "component_ids", "plan_id", "expires_at", "device_id")),
    JSON | st.sampled_from(("users", "devices", "subscriptions")),
)
DATA = st.fixed_dictionaries(
    {"type": JSON | st.sampled_from(sorted(envelope.TYPES)), "attributes": ATTRIBUTES | JSON, "relationships": JSON, "id": JSON}
)
HOSTILE = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"meta":{"time":' + b"9" * 100_000 + b'},"data":{"type":"x"}}',
    b'{"meta":{"time":18446744073709551615},"data":{"type":"x","attributes":{"timestamp":-9223372036854775808}}}',
    b'{"data":{"type":"\\ud800"}}',
    b'{"data":{"type":"a\\u0000b"}}',
    b'{"data":{"type":"x"},"data":{"type":"y"}}',
    b'{"meta":{"time":"0001-01-01T00:00:00+10:00"},"data":{"type":"x"}}',
    b'{"meta":{"account_id":"\xed\xa0\x80"},"data":{"type":"x"}}',
    b"\xef\xbb\xbf{}",
    b"",
    b"\0",
    b"NaN",
)


def survives(body: bytes) -> None:
    seen = peek(body)
    seen.key.decode()
    assert 0 < len(seen.request_id) <= 256
    with suppress(Rejected):
        found = parse(body, NOW)
        assert seen.request_id == found.request_id
        msgspec.json.encode(found)  # no lone surrogate, nothing a later step could choke on


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_are_read_or_rejected(body: bytes) -> None:
    survives(body)


@given(st.binary())
def test_any_bytes_are_read_or_rejected(body: bytes) -> None:
    survives(body)


@given(st.fixed_dictionaries({"meta": META | JSON, "data": DATA | JSON}, optional={"event_type": JSON, "device_id": JSON}) | JSON)
def test_any_json_is_read_or_rejected(value: object) -> None:
    survives(json.dumps(value).encode())
