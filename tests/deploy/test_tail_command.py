"""`ringhook tail`: what it asks, prints, and does while nobody answers."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from click import BadParameter
from click.testing import CliRunner, Result

from deploy.command.columns import Columns
from deploy.command.tail import tail
from deploy.command.wanting import filter_of
from deploy.command.when import moment
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering

NOW = datetime(2026, 2, 13, 13, 39, 57, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "r1",
    "type": "com.ring.motion_detected",
    "source": "https://api.amazonvision.com",
    "subject": "d1",
    "time": "2026-02-13T13:39:57.200155Z",
    "accountid": "a1",
    "partneruserid": "u-42",
    "linked": True,
    "recovered": False,
    "sequence": "00000000000000000017",
}
AWAY = 503, b'{"error": {"code": "unavailable", "message": "Cannot be looked up just now; try again in a moment."}}'


def page(*ids: str, after: str = "next", **more: Any) -> tuple[int, bytes]:  # noqa: ANN401 - JSON
    events = [EVENT | {"id": one} for one in ids]
    said = {"events": events, "next": after, "more": False, "expired": 0, "unreadable": 0, "data": False}
    return 200, orjson.dumps(said | more)


def run(*words: str) -> Result:
    done = CliRunner().invoke(tail, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def asked(port: type[Answering]) -> list[dict[str, str]]:
    assert {urlsplit(path).path for path, _ in port.asked} == {"/v1/events"}
    return [{name: texts[0] for name, texts in parse_qs(urlsplit(path).query).items()} for path, _ in port.asked]


def test_it_prints_what_is_new_and_goes_on_where_it_was(port: type[Answering]) -> None:
    port.answers = [page(after="c1"), page("r1", "r2", after="c2"), page(after="c3"), page("r3", after="c4")]
    done = run("--limit", "3")
    fields = [line.split("\t") for line in done.stdout.splitlines()]
    assert fields[0] == ["2026-02-13 13:39:57Z", "com.ring.motion_detected", "a1", "d1", "u-42", "linked", "r1"]
    assert [line[-1] for line in fields] == ["r1", "r2", "r3"]
    assert asked(port) == [
        {"limit": "3"},
        {"after": "c1", "limit": "3", "wait_s": "20"},
        {"after": "c2", "limit": "1", "wait_s": "20"},
        {"after": "c3", "limit": "1", "wait_s": "20"},
    ]


def test_what_an_event_does_not_have_is_a_dash(port: type[Answering]) -> None:
    bare = {name: value for name, value in EVENT.items() if name not in {"subject", "partneruserid"}} | {"linked": False}
    port.answers = [page(events=[bare])]
    assert run("--limit", "1").stdout.split("\t")[3:6] == ["-", "-", "not linked"]


def test_as_json_it_is_a_cloudevent_a_line_and_says_once_that_data_lacks(port: type[Answering]) -> None:
    port.answers = [page("r1"), page("r2")]
    done = run("--limit", "2", "--json")
    assert [orjson.loads(line) for line in done.stdout.splitlines()] == [EVENT, EVENT | {"id": "r2"}]
    assert done.stderr == "The token of RINGHOOK_TOKEN lacks the scope `bodies`, so `data` is left out.\n"


def test_with_data_it_says_nothing(port: type[Answering]) -> None:
    port.answers = [page("r1", data=True)]
    assert run("--limit", "1", "--json").stderr == ""


def test_filters_of_all_kinds_are_one(port: type[Answering]) -> None:
    port.answers = [page("r1")]
    run(
        "--limit",
        "1",
        "--from",
        "first",
        "--type",
        "button_press",
        "--account",
        "a1",
        "--filter",
        '{"not": {"exact": {"id": "x"}}}',
    )
    [query] = asked(port)
    assert query["from"] == "first"
    exact = {"exact": {"type": "com.ring.button_press", "accountid": "a1"}}
    assert orjson.loads(query["filter"]) == {"all": [exact, {"not": {"exact": {"id": "x"}}}]}


def test_a_filter_alone_is_itself() -> None:
    none = {"kind": None, "account": None, "device": None}
    assert filter_of(None, **none) is None
    assert filter_of('{"prefix": {"type": "com.ring."}}', **none) == '{"prefix":{"type":"com.ring."}}'
    assert filter_of(None, **none | {"device": "d1"}) == '{"exact":{"subject":"d1"}}'
    assert filter_of(None, **none | {"kind": "com.ring.x"}) == '{"exact":{"type":"com.ring.x"}}'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--filter", "{"], "is no JSON"),
        (["--filter", '{"exact": {"typ": "x"}}'], "'typ' is no attribute of an event"),
        (["--filter", '{"exact": {"id": "' + "x" * 2_000 + '"}}'], "is longer than the 2000 characters"),
        (["--from", "yesterday"], "is neither so long ago (30m, 1h, 2d) nor a time with its offset"),
        (["--from", "2026-02-13T00:00:00"], "is neither so long ago"),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_what_is_mistyped_is_told_before_anybody_is_asked(port: type[Answering], words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.exit_code, port.asked) == (2, [])
    assert said in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("1h", NOW - timedelta(hours=1)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-02-13T13:39:57Z", NOW),
        ("2026-02-13T14:39:57+01:00", NOW),
    ],
)
def test_times_are_ages_or_moments(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


def test_an_age_beyond_all_time_is_refused() -> None:
    with pytest.raises(BadParameter):
        moment("999999d", NOW)


def test_one_that_is_away_at_first_is_told_in_a_sentence(port: type[Answering]) -> None:
    port.answers = [AWAY]
    with pytest.raises(Misconfigured, match="answered 503: Cannot be looked up just now"):
        run("--limit", "1")


def test_one_that_is_away_for_a_while_is_waited_for_and_nothing_is_missed(
    port: type[Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("deploy.command.tail.time.sleep", pauses.append)
    port.answers = [page("r1", after="c1"), AWAY, AWAY, page("r2", after="c2")]
    done = run("--limit", "2")
    assert [line.split("\t")[-1] for line in done.stdout.splitlines()] == ["r1", "r2"]
    assert done.stderr.count("Trying again; what comes meanwhile is printed then.") == 1
    assert ([query.get("after") for query in asked(port)], len(pauses)) == ([None, "c1", "c1", "c1"], 2)


def test_a_cursor_that_is_refused_ends_it(port: type[Answering]) -> None:
    refused = 422, b'{"error": {"code": "unprocessable", "message": "This cursor lies behind the end"}}'
    port.answers = [page("r1"), refused]
    with pytest.raises(Misconfigured, match="422: This cursor lies behind the end"):
        run("--limit", "2")


def test_what_expired_or_is_no_event_is_told(port: type[Answering]) -> None:
    port.answers = [page("r1", expired=7, unreadable=2)]
    said = run("--limit", "1").stderr
    assert "Up to 7 records had expired before they were read." in said
    assert "2 records are no events of ringhook's" in said


def test_on_a_terminal_it_stands_in_columns_under_their_names(port: type[Answering], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.command.tail.terminal", lambda: True)
    port.answers = [page("r1", "r2")]
    head, *lines = run("--limit", "2").stdout.splitlines()
    assert head.split() == ["TIME", "TYPE", "ACCOUNT", "DEVICE", "USER", "LINKED", "ID"]
    assert {line.index("com.ring") for line in lines} == {len("2026-02-13 13:39:57Z") + 2}
    assert not any("\t" in line for line in lines)


def test_columns_grow_and_stay() -> None:
    columns = Columns(("A", "B"), aligned=True)
    assert [columns.line(cells) for cells in (("a", "b"), ("aaaa", "b"), ("a", None))] == ["a  b", "aaaa  b", "a     -"]


def test_nothing_in_an_id_paints_the_screen_or_forges_a_line() -> None:
    for aligned in (True, False):
        line = Columns(("A",), aligned=aligned).line(("\x1b[31m\r\n\t\u202eevil\x00",))
        assert line == "\\u001b[31m\\u000d\\u000a\\u0009\\u202eevil\\u0000"
