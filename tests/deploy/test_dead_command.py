"""`ringhook dead list` and `show`: what they ask, and what they make of the answer."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from click.testing import CliRunner, Result

from deploy.command.dead import dead
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering

LETTER: dict[str, Any] = {
    "address": "delivery.alerts.dead:3:17",
    "at": "2026-02-13T13:39:57.2+00:00",
    "reason": "refused",
    "attempts": 3,
    "id": "r1",
    "type": "com.ring.motion_detected",
    "account": "a1",
    "status": "422",
    "origin": "event.recorded:3:170",
}
STALE = LETTER | {"address": "webhook.received.dead:0:1", "reason": "stale", "attempts": 1, "status": None, "account": None}
HISTORY = [
    {"at": "2026-02-13T13:39:50+00:00", "verdict": "failed", "status": None, "failure": "timeout", "took_ms": 10_000.0},
    {"at": "2026-02-13T13:39:57+00:00", "verdict": "refused", "status": 422, "failure": None, "took_ms": 3.0},
]
WHOLE = LETTER | {"key": "a1", "bytes": 7, "omitted": False, "headers": [["ce_id", "r1"]], "history": HISTORY}


def answer(*letters: dict[str, Any], cut: str | None = None) -> tuple[int, bytes]:
    return 200, orjson.dumps({"letters": letters, "scanned": 200_000, "cut": cut})


def run(*words: str) -> Result:
    done = CliRunner().invoke(dead, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_letters_are_lines_that_end_with_where_each_lies(port: type[Answering]) -> None:
    port.answers = [answer(LETTER, STALE)]
    assert [line.split("\t") for line in run("list").stdout.splitlines()] == [
        ["2026-02-13 13:39:57Z", "refused (422)", "3", "a1", "r1", "event.recorded:3:170", "delivery.alerts.dead:3:17"],
        ["2026-02-13 13:39:57Z", "stale", "1", "-", "r1", "event.recorded:3:170", "webhook.received.dead:0:1"],
    ]
    assert port.asked[0][0] == "/v1/dead?limit=50"


def test_all_choices_are_asked(port: type[Answering]) -> None:
    port.answers = [answer()]
    run("list", "--topic", "t", "--reason", "stale", "--since", "2026-02-13T00:00:00Z", "--limit", "7")
    asked = parse_qs(urlsplit(port.asked[0][0]).query)
    assert asked == {"topic": ["t"], "reason": ["stale"], "since": ["2026-02-13T00:00:00+00:00"], "limit": ["7"]}


@pytest.mark.parametrize("words", [("show", ""), ("retry", "a:0:1", ""), ("drop", " ")])
def test_an_empty_address_is_asked_for_before_anything_is(port: type[Answering], words: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match=r"^Say which dead letter: "):
        run(*words)
    assert not port.asked


def test_as_json_it_is_an_object_a_line(port: type[Answering]) -> None:
    port.answers = [answer(LETTER, STALE)]
    assert [orjson.loads(line) for line in run("list", "--json").stdout.splitlines()] == [LETTER, STALE]


def test_where_there_is_none_or_too_much_it_says_so(port: type[Answering]) -> None:
    port.answers = [answer(), answer(LETTER, cut="scanned"), answer()]
    assert run("list").stderr == "There is no such dead letter.\n"
    assert run("list").stderr == "Only the newest 200000 dead letters were looked at: --topic leads further back.\n"
    assert run("list", "--json").stderr == ""


def test_one_is_told_in_words(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps(WHOLE))]
    assert run("show", "delivery.alerts.dead:3:17").stdout.splitlines() == [
        "delivery.alerts.dead:3:17 was put aside at 2026-02-13 13:39:57Z after 3 attempts: refused.",
        "  id: r1",
        "  type: com.ring.motion_detected",
        "  account: a1",
        "  key: a1",
        "  was at: event.recorded:3:170",
        "Attempts, the latest of them:",
        "  2026-02-13 13:39:50Z  failed, timeout",
        "  2026-02-13 13:39:57Z  refused, 422",
        "Headers:",
        "  ce_id: r1",
        "Its body (7 bytes) is shown to a token with the scope `bodies`.",
    ]
    assert port.asked[0][0] == "/v1/dead/delivery.alerts.dead:3:17"


def test_what_it_was_refused_with_is_told_beside_what_it_was_refused_for(port: type[Answering]) -> None:
    shared = [one | {"events": events} for one, events in zip(HISTORY * 2, (4, 4, 2, 1), strict=True)]
    port.answers = [(200, orjson.dumps(WHOLE | {"history": shared}))] * 2
    told = [line for line in run("show", "x:0:0").stdout.splitlines() if line.startswith("  2026")]
    assert [line.split("Z  ")[1] for line in told] == [
        "failed together with 3 others, timeout",
        "refused together with 3 others, 422",
        "failed together with 1 other, timeout",
        "refused, 422",
    ]
    assert orjson.loads(run("show", "x:0:0", "--json").stdout)["history"] == shared


def test_a_body_that_may_be_seen_is_shown(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps(WHOLE | {"body": '{"a":\n1}', "history": [], "omitted": True}))]
    said = run("show", "x:0:0").stdout
    assert said.endswith('Body:\n{"a":\n1}\n')
    assert "Its body was too large to be kept with it" in said
    assert "Attempts" not in said


def test_as_json_one_is_all_that_is_known(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps(WHOLE))]
    assert orjson.loads(run("show", "x:0:0", "--json").stdout) == WHOLE


@pytest.mark.parametrize("name", ["id", "reason", "account", "body", "key"])
def test_nothing_in_a_letter_paints_the_screen_or_forges_a_line(port: type[Answering], name: str) -> None:
    evil = {name: "\x1b[31mx\u202e"}
    port.answers = [answer(LETTER | evil), (200, orjson.dumps(WHOLE | {"headers": [["x", evil[name]]]} | evil))]
    for words in (["list"], ["show", "x:0:0"]):
        said = run(*words).stdout
        assert not {"\x1b", "\u202e"} & set(said)
