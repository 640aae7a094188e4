"""Bodies that a destination shapes itself."""

import asyncio
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from schemas.errors import Rejected
from tests.workers.deliver.support import SECRET, Sink, dead_letters, delivering, destination, event, header, until
from workers.bus.contract import Bus
from workers.deliver.shape import LONGEST, compiled

DEEP = "(" * 2_000


def shaped(expression: str, value: object) -> object:
    return json.loads(compiled(expression)(json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{id: id, what: data.motion}", {"id": "e1", "what": "human"}),
        ("{id: id, gone: data.nothing}", {"id": "e1", "gone": None}),
        ("data.payload.list[?size > `1`].name", ["b", "\u00fc"]),
        ("id", "e1"),
        ("`false`", False),
        ("`[]`", []),
        ("data.payload.big", 2**70),
        ("join('-', [id, data.motion])", "e1-human"),
        ("merge(data, {id: id}).id", "e1"),
    ],
)
def test_a_shape_makes_what_jmespath_says(expression: str, expected: object) -> None:
    things = [{"name": "a", "size": 1}, {"name": "b", "size": 2}, {"name": "\u00fc", "size": 3}]
    assert shaped(expression, {"id": "e1", "data": {"motion": "human", "payload": {"list": things, "big": 2**70}}}) == expected


@pytest.mark.parametrize(
    "expression", ["data.nothing", "length(id.x)", "sort_by(things, &a)", "to_number('nan')", "&id", "sum(things)", "`null`"]
)
def test_an_event_that_a_shape_does_not_fit_is_rejected(expression: str) -> None:
    with pytest.raises(Rejected) as refused:
        shaped(expression, {"id": "e1", "things": [{"a": 1}, {"a": "x"}]})
    assert refused.value.reason == "unshaped"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "is empty: leave it out"),
        ("{id: id, what: ", "ends too soon: something is missing after character 14, its last"),
        ("data[", "ends too soon: something is missing after character 5"),
        ("a..b", "cannot be read from character 3 on: '.b'"),
        ("a b", "cannot be read from character 3 on: 'b'"),
        ("a.b-c", "cannot be read from character 4 on: '-c'"),
        ("#", "cannot be read from character 1 on: '#'"),
        ("{id: 'x}", "the quote at character 6 is never closed"),
        ('{id: "x}', "the quote at character 6 is never closed"),
        ("{a: id, b: [lenght(id)]}", "lenght() is no function of JMESPath"),
        ("a[?contains(@)]", "contains() is called with 1 values, and takes 2"),
        ("length(@, @)", "length() is called with 2 values, and takes 1"),
        (DEEP, "has too many brackets in one another"),
        ("a" * (LONGEST + 1), "is longer than 4,096 characters"),
    ],
)
def test_what_is_wrong_with_a_shape_is_said_with_its_place(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        compiled(expression)


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax")
@given(st.text("ab.[]{}()*@&|?<>=!,:`'\"\\-0 #\u00fc", max_size=40))
def test_every_text_is_a_shape_or_told_in_words(expression: str) -> None:
    try:
        shape = compiled(expression)
    except ValueError:
        return
    with suppress(Rejected):
        json.loads(shape(b'{"a":{"b":[1,"x",null]}}'))


async def test_a_service_gets_what_its_shape_makes_signed_as_it_comes(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("e1", device="b\u00fc")])
    async with delivering(bus, destination(sink.url, shape="{id: id, where: subject, what: data.motion, order: sequence}")):
        await until(lambda: sink.ids)
    ((headers, body),) = sink.requests
    Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert json.loads(body) == {"id": "e1", "where": "b\u00fc", "what": "human", "order": "0" * 20}
    assert (headers["Content-Type"], headers["webhook-id"]) == ("application/json", "e1")


async def test_an_event_that_does_not_fit_is_buried_and_its_key_goes_on_as_if_it_had_not_been(bus: Bus, sink: Sink) -> None:
    async def lively() -> int:
        await asyncio.sleep(0.02)  # after the first attempt of `good`: that its next one fails is then its own fault
        return 200

    sink.answer = lambda identity, number: lively() if identity == "life" else 200 if number == 3 else 500
    await bus.publish([event("bad", kind="button_press"), event("good"), event("life", device="d2")])
    shape = "(type == 'com.ring.motion_detected' && {id: id}) || `null`"
    async with delivering(bus, destination(sink.url, shape=shape)):
        (letter,) = await dead_letters(bus, 1)
        await until(lambda: sink.seen("good") == 3)  # not the single attempt of who follows one that its service refused
    assert (header(letter, "ce_id"), header(letter, "dead_reason"), header(letter, "dead_attempts")) == ("bad", "unshaped", "0")
    assert set(sink.ids) == {"good", "life"}
