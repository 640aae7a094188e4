"""Filters as CloudEvents writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import SearchStrategy, dictionaries, lists, recursive, sampled_from, text

from schemas.events import Event, EventData
from schemas.filters import ATTRIBUTES, DEEPEST, compiled, everything, spoken

AT = datetime(2026, 2, 13, 13, 39, 57, tzinfo=UTC)
EVENT = Event(
    id="r1",
    type="com.ring.motion_detected",
    subject="D",
    time=AT,
    accountid="A",
    partneruserid="u-42",
    linked=True,
    data=EventData(received_at=AT),
)
ALONE = Event(
    id="r2", type="com.ring.app_integration_added", time=AT, accountid="A", linked=False, data=EventData(received_at=AT)
)
MOTION = {"exact": {"type": "com.ring.motion_detected"}}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        (MOTION, True),
        ({"exact": {"type": "com.ring.motion"}}, False),
        ({"exact": {"type": "COM.RING.MOTION_DETECTED"}}, False),
        ({"prefix": {"type": "com.ring.motion"}}, True),
        ({"prefix": {"type": "motion"}}, False),
        ({"suffix": {"type": "_detected"}}, True),
        ({"suffix": {"type": "com"}}, False),
        ({"exact": {"type": "com.ring.motion_detected", "subject": "D"}}, True),
        ({"exact": {"type": "com.ring.motion_detected", "subject": "E"}}, False),
        ({"exact": {"linked": "true"}}, True),
        ({"exact": {"recovered": "true"}}, False),
        ({"prefix": {"time": "2026-02-13T13:39:57"}}, True),
        ({"all": [MOTION, {"exact": {"subject": "D"}}]}, True),
        ({"all": [MOTION, {"exact": {"subject": "E"}}]}, False),
        ({"any": [{"exact": {"subject": "E"}}, MOTION]}, True),
        ({"any": [{"exact": {"subject": "E"}}, {"exact": {"subject": "F"}}]}, False),
        ({"not": MOTION}, False),
        ({"not": {"any": [{"suffix": {"type": "_cleared"}}, {"prefix": {"subject": "X"}}]}}, True),
    ],
)
def test_what_an_event_fits(expression: dict[str, Any], wanted: bool) -> None:  # noqa: FBT001 - a table
    assert compiled(expression)(EVENT) is wanted
    assert compiled({"not": expression})(EVENT) is not wanted


@pytest.mark.parametrize("dialect", ["exact", "prefix", "suffix"])
@pytest.mark.parametrize("name", ["subject", "partneruserid"])
def test_an_attribute_that_is_not_there_fits_nothing(dialect: str, name: str) -> None:
    assert compiled({dialect: {name: "D"}})(ALONE) is False
    assert compiled({"not": {dialect: {name: "D"}}})(ALONE) is True


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ({}, "must be a table with one of exact, prefix, suffix, all, any, not"),
        ("type", "must be a table with one of"),
        ({"sql": "x"}, "must be a table with one of"),
        ({**MOTION, "not": MOTION}, "must be a table with one of"),
        ({"exact": {}}, "exact: must be a table with at least one attribute"),
        ({"exact": "motion"}, "exact: must be a table"),
        ({"exact": {"Type": "x"}}, "exact: 'Type' is no attribute of an event; there are id, type, "),
        ({"exact": {"data": "x"}}, "exact: 'data' is no attribute"),
        ({"prefix": {"linked": True}}, "prefix: linked must be text in quotes"),
        ({"suffix": {"type": ""}}, "suffix: type must be text in quotes, and not empty"),
        ({"any": []}, "any: must be a list of filters"),
        ({"all": MOTION}, "all: must be a list of filters"),
        ({"not": {"any": [MOTION, {"exact": {"x": "y"}}]}}, "not: any: exact: 'x' is no attribute"),
        ({"not": [MOTION]}, "not: must be a table with one of"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(expression: object, words: str) -> None:
    with pytest.raises(ValueError, match="^" + words.replace("(", r"\(")):
        compiled(expression)


def test_filters_within_filters_have_an_end() -> None:
    deep: dict[str, Any] = MOTION
    for _ in range(DEEPEST - 1):
        deep = {"not": deep}
    compiled(deep)
    with pytest.raises(ValueError, match=f"more than {DEEPEST} deep"):
        compiled({"not": deep})


def _expressions() -> SearchStrategy[dict[str, Any]]:
    words = dictionaries(sampled_from(ATTRIBUTES), sampled_from(["A", "D", "r", "com", "true", "2026", "u-42", "d"]), min_size=1)
    texts = sampled_from(["exact", "prefix", "suffix"]).flatmap(lambda name: words.map(lambda some: {name: some}))
    return recursive(
        texts,
        lambda inner: (
            inner.map(lambda one: {"not": one})
            | lists(inner, min_size=1, max_size=3).flatmap(lambda some: sampled_from([{"all": some}, {"any": some}]))
        ),
        max_leaves=6,
    )


def naive(expression: dict[str, Any], event: Event) -> bool:
    """Say by the words of the specification whether an event fits."""
    ((dialect, operand),) = expression.items()
    match dialect:
        case "not":
            return not naive(operand, event)
        case "all":
            return False not in [naive(each, event) for each in operand]
        case "any":
            return True in [naive(each, event) for each in operand]
    for name, wanted in operand.items():
        said = spoken(event, name) or ""
        cut = {"exact": said, "prefix": said[: len(wanted)], "suffix": said[-len(wanted) :]}[dialect]
        if cut != wanted:
            return False
    return True


@given(_expressions())
def test_any_filter_says_what_the_specification_says(expression: dict[str, Any]) -> None:
    assert [compiled(expression)(event) for event in (EVENT, ALONE)] == [naive(expression, event) for event in (EVENT, ALONE)]


@given(text())
def test_an_attribute_is_spoken_as_it_is(value: str) -> None:
    assert compiled({"exact": {"subject": value or "x"}})(EVENT) is (value == "D")
    assert everything(EVENT)
