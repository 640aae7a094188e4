"""`ringhook deliveries list` and `show`: what they ask, and what they make of the answer."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from click.testing import CliRunner, Result

from deploy.command.deliveries import deliveries
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering

ATTEMPT: dict[str, Any] = {
    "destination": "alerts",
    "event": "r1",
    "type": "com.ring.motion_detected",
    "device": "d1",
    "account": "a1",
    "index": 3,
    "offset": 17,
    "number": 1,
    "at": "2026-02-13T13:39:57.200155+00:00",
    "verdict": "failed",
    "status": None,
    "failure": "timeout",
    "took_ms": 10_000.2,
}
SECOND = ATTEMPT | {"number": 2, "at": "2026-02-13T13:40:08+00:00", "status": 204, "failure": None, "verdict": "accepted"}
ELSEWHERE = ATTEMPT | {"destination": "archive", "status": 422, "failure": None, "verdict": "refused", "took_ms": 3.0}
SHARED = [
    ATTEMPT | {"number": number, "status": status, "failure": None, "verdict": verdict, "took_ms": 3.0, "events": events}
    for number, (verdict, status, events) in enumerate(
        [
            ("throttled", 503, 4),
            ("refused", 422, 4),
            ("refused", 422, 2),
            ("refused", 422, 1),
            ("gone", 410, 3),
            ("accepted", 204, 4),
        ]
    )
]
CANCELLED = ATTEMPT | {"destination": "zoo", "verdict": "cancelled", "failure": None, "took_ms": 0.0, "number": 0}
DOUBT = "one of them may be at fault"


def answer(*attempts: dict[str, Any], cut: str | None = None) -> tuple[int, bytes]:
    return 200, orjson.dumps({"deliveries": attempts, "scanned": 200_000, "cut": cut})


def run(*words: str) -> Result:
    done = CliRunner().invoke(deliveries, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def asked(port: type[Answering]) -> dict[str, str]:
    [(path, _)] = port.asked
    assert urlsplit(path).path == "/v1/deliveries"
    return {name: texts[0] for name, texts in parse_qs(urlsplit(path).query).items()}


def test_attempts_are_lines(port: type[Answering]) -> None:
    port.answers = [answer(SECOND, ELSEWHERE, ATTEMPT, CANCELLED)]
    assert [line.split("\t") for line in run("list").stdout.splitlines()] == [
        ["2026-02-13 13:40:08Z", "alerts", "accepted", "204", "2", "10000 ms", "a1", "r1"],
        ["2026-02-13 13:39:57Z", "archive", "refused", "422", "1", "3 ms", "a1", "r1"],
        ["2026-02-13 13:39:57Z", "alerts", "failed", "no answer in time", "1", "10000 ms", "a1", "r1"],
        ["2026-02-13 13:39:57Z", "zoo", "cancelled", "-", "0", "-", "a1", "r1"],
    ]
    assert asked(port) == {"failed": "false", "limit": "50"}


def test_all_choices_are_asked(port: type[Answering]) -> None:
    port.answers = [answer(ATTEMPT)]
    choices = ("--destination", "alerts", "--event", "r1", "--account", "a1", "--failed", "--limit", "7")
    run("list", *choices, "--since", "2026-02-13T00:00:00Z")
    chosen = {"destination": "alerts", "event": "r1", "account": "a1", "failed": "true", "limit": "7"}
    assert asked(port) == chosen | {"since": "2026-02-13T00:00:00+00:00"}


def test_on_a_terminal_it_stands_in_columns(port: type[Answering], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.command.deliveries.terminal", lambda: True)
    port.answers = [answer(SECOND, ATTEMPT)]
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["TIME", "DESTINATION", "VERDICT", "STATUS", "TRY", "TOOK", "ACCOUNT", "EVENT"]
    assert len({line.index(word) for line, word in zip(lines, ("EVENT", "r1", "r1"), strict=True)}) == 1


def test_as_json_it_is_an_object_a_line(port: type[Answering]) -> None:
    port.answers = [answer(SECOND, ATTEMPT)]
    assert [orjson.loads(line) for line in run("list", "--json").stdout.splitlines()] == [SECOND, ATTEMPT]


def test_a_destination_that_is_none_is_told_with_those_that_there_are(port: type[Answering]) -> None:
    port.answers = [answer(), (200, orjson.dumps({"destinations": [{"name": "alerts"}]}))]
    with pytest.raises(Misconfigured, match=r"^No destination is called 'alrets'; there are: alerts$"):
        run("list", "--failed", "--destination", "alrets")


@pytest.mark.parametrize("words", [("show", ""), ("retry", " ", "--destination", "alerts"), ("retry", "r1", "--destination", "")])
def test_an_empty_id_is_asked_for_before_anything_is(port: type[Answering], words: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match=r"^Say which (event|destination): "):
        run(*words)
    assert not port.asked


def test_none_is_told_with_what_that_may_mean(port: type[Answering]) -> None:
    port.answers = [answer(), answer(), answer()]
    said = run("list")
    assert (said.stdout, said.exit_code) == ("", 0)
    assert said.stderr.startswith("No such attempt was written down. Attempts are kept 3 days. Under load, first attempts")
    assert run("list", "--json").stderr == ""
    assert run("show", "r9").stderr.startswith("No attempt to deliver r9 was written down. Attempts are kept 3 days.")


def test_a_search_that_ended_early_says_so(port: type[Answering]) -> None:
    port.answers = [answer(ATTEMPT, cut="scanned"), answer(ATTEMPT, cut="limit")]
    assert run("list").stderr == ("Only the newest 200000 attempts were looked at: --account leads further back.\n")
    assert run("list").stderr == ""


def test_an_event_is_told_destination_by_destination_in_order(port: type[Answering]) -> None:
    port.answers = [answer(SECOND, CANCELLED, ELSEWHERE, ATTEMPT)]
    assert run("show", "r1").stdout.splitlines() == [
        "r1 is com.ring.motion_detected of account a1, device d1.",
        "To alerts:",
        "  2026-02-13 13:39:57Z  attempt 1: failed, no answer in time, after 10000 ms",
        "  2026-02-13 13:40:08Z  attempt 2: accepted, 204, after 10000 ms",
        "To archive:",
        "  2026-02-13 13:39:57Z  attempt 1: refused (the event is at fault), 422, after 3 ms",
        "To zoo:",
        "  2026-02-13 13:39:57Z  not sent: nothing is sent for this account any more",
    ]
    assert asked(port) == {"event": "r1", "limit": "500"}


def test_what_was_sent_together_with_others_is_no_verdict_on_the_event(port: type[Answering]) -> None:
    port.answers = [answer(*SHARED), answer(*SHARED)]
    assert [line.split(": ", 1)[1] for line in run("show", "r1").stdout.splitlines()[2:]] == [
        "asked to slow down together with 3 others, 503, after 3 ms",
        f"refused together with 3 others ({DOUBT}: it is sent again with fewer, at last alone), 422, after 3 ms",
        "refused together with 1 other (either may be at fault: it is sent again alone), 422, after 3 ms",
        "refused (the event is at fault), 422, after 3 ms",
        "gone (410) together with 2 others: the destination is disabled, 410, after 3 ms",
        "accepted together with 3 others, 204, after 3 ms",
    ]
    assert [orjson.loads(line)["events"] for line in run("show", "r1", "--json").stdout.splitlines()] == [4, 4, 2, 1, 3, 4]


def test_a_line_says_with_how_many_others_it_was_sent(port: type[Answering]) -> None:
    port.answers = [answer(*SHARED)]
    said = [line.split("\t")[2] for line in run("list").stdout.splitlines()]
    assert said[1:4] == ["refused together with 3 others", "refused together with 1 other", "refused"]


def test_after_the_attempts_it_says_where_the_dead_letter_lies(port: type[Answering]) -> None:
    letter = {"address": "delivery.archive.dead:3:17", "reason": "refused", "at": "2026-02-13T13:39:57.412+00:00"}
    port.answers = [answer(ELSEWHERE | {"letter": letter}, ATTEMPT)] * 2
    assert run("show", "r1").stdout.splitlines()[3:] == [
        "To archive:",
        "  2026-02-13 13:39:57Z  attempt 1: refused (the event is at fault), 422, after 3 ms",
        "  2026-02-13 13:39:57Z  put on the dead letters (refused): `ringhook dead show delivery.archive.dead:3:17`",
    ]
    assert [orjson.loads(line).get("letter") for line in run("show", "r1", "--json").stdout.splitlines()] == [None, letter]


def test_the_account_shortens_the_search(port: type[Answering]) -> None:
    port.answers = [answer(ATTEMPT)]
    run("show", "r1", "--account", "a1", "--json")
    assert asked(port) == {"event": "r1", "limit": "500", "account": "a1"}


@pytest.mark.parametrize("command", [["list"], ["show", "r1"]])
def test_nothing_in_a_record_paints_the_screen(port: type[Answering], command: list[str]) -> None:
    port.answers = [answer(ATTEMPT | {"account": "\x1b[31m\n", "verdict": "\x00"})]
    said = run(*command).stdout
    assert "\\u001b[31m\\u000a" in said
    assert "\x1b" not in said
    assert "\x00" not in said


@pytest.mark.parametrize("command", [[], ["list"], ["show"]])
def test_the_help_says_that_some_may_be_left_out(command: list[str]) -> None:
    said = " ".join(run(*command, "--help").stdout.split())
    assert "Under load, first attempts that were accepted at once may be left out" in said
