"""`ringhook replay`: what it makes of what `/v1` says of a replay."""

from typing import Any

import pytest

from deploy.command.replay import counted, told

REPLAY: dict[str, Any] = {
    "id": "f00",
    "destination": "crm",
    "state": "sending",
    "asked_at": "2026-02-13T13:39:57+00:00",
    "begin_at": "1970-01-01T00:00:00+00:00",
    "end_at": "2026-02-13T13:39:57+00:00",
    "by": "ops",
    "total": 900,
    "looked": 900,
    "copied": 400,
    "accepted": 100,
    "buried": 0,
    "unsent": 0,
    "destination_state": "well",
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "is being sent: 100 accepted, 300 to go, of 400."),
        ({"state": "done", "accepted": 400}, "is done: 400 accepted, of 400."),
        (
            {"state": "done", "accepted": 390, "buried": 7, "unsent": 3},
            "is done: 390 accepted, 7 put aside as dead letters, 3 not sent (`ringhook deliveries show ID` says why), of 400.",
        ),
        ({"state": "done", "accepted": 399}, "399 accepted, 1 not counted, as a process was ended meanwhile, of 400."),
        (
            {"state": "cancelled", "accepted": 94, "unsent": 6},
            "was cancelled: nothing more of it is sent (94 accepted, 6 not sent, of 400).",
        ),
        ({"state": "cancelled"}, "was cancelled: nothing more of it is sent (100 accepted, of 400)."),
    ],
)
def test_what_became_of_the_events_is_told_apart(changes: dict[str, Any], words: str) -> None:
    assert words in next(iter(told(REPLAY | changes)))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("paused", "it is paused, until `ringhook destinations resume crm`"),
        ("gone", "it answered 410, until `ringhook destinations resume crm`"),
        ("failing", "goes on by itself"),
        ("throttled", "goes on by itself"),
        ("not running", "No `ringhook deliver` (or `up`) runs"),
        ("not configured", "not in ringhook.toml any more"),
        ("well", ""),
    ],
)
def test_why_nothing_goes_is_told_as_long_as_it_is_not_over(state: str, words: str) -> None:
    lines = list(told(REPLAY | {"destination_state": state}))
    assert len(lines) == (3 if words else 2)
    assert words in lines[1]
    assert len(list(told(REPLAY | {"destination_state": state, "state": "done"}))) == 2


def test_a_dry_run_says_what_it_knows() -> None:
    said = {"matched": 3, "looked": 5, "total": 5, "whole": True, "filtered": True}
    assert counted(said) == "3 of 5 recorded events would be sent."
    assert counted(said | {"whole": False, "total": 900}) == (
        "3 of the first 5 events that were looked at would be sent; there are about 900."
    )
    assert counted(said | {"filtered": False}).startswith("3 of 5 recorded events fit. No copy of `ringhook deliver` tells")
