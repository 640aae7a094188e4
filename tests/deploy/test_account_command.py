"""`ringhook accounts show` and `forget`: what they ask first, and what they say."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from deploy.command import account as command
from deploy.command.accounts import accounts

SEEN: dict[str, Any] = {
    "account": "a1",
    "state": "completed",
    "partner_user": "u-42",
    "last_partner_user": None,
    "changed_at": "2026-02-13T13:39:57+00:00",
    "finding": None,
    "tokens_end_at": "2026-03-15T13:39:57+00:00",
    "subscription": {
        "state": "active",
        "plan_id": "ring.protect.plus",
        "kind": "trial",
        "expires_at": "2026-03-15T00:00:00.000Z",
        "told_at": "2026-02-13T13:39:57+00:00",
    },
    "grants": [{"generation": 7, "steps": [{"name": "received", "at": "2026-02-13T13:39:50+00:00"}]}],
}
DAY = "2026-03-26T00:00:00+00:00"


class Asked:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
        self.calls: list[tuple[str, str]] = []
        monkeypatch.setattr(command, "ask", lambda _directory, method, path: self.calls.append((method, path)) or answer)


def run(*words: str, says: str = "") -> Result:
    return CliRunner().invoke(accounts, [*words, "-C", str(Path.cwd())], input=says)


def test_an_account_is_shown_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, SEEN)
    lines = run("show", "a/1").output.splitlines()
    assert asked.calls == [("GET", "/v1/accounts/a%2F1")]
    assert lines == [
        "a1 is completed, linked to your user u-42, since 2026-02-13 13:39Z.",
        "Its tokens last until 2026-03-15 13:39Z and are renewed before.",
        "Its Ring subscription is active: ring.protect.plus (trial), until 2026-03-15T00:00:00.000Z.",
        "Link 7: received 2026-02-13 13:39Z.",
    ]
    assert orjson.loads(run("show", "a1", "--json").output) == SEEN


def test_what_is_wrong_and_what_to_do_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"state": "removed", "partner_user": None, "tokens_end_at": None, "subscription": None, "finding": "connect it there"}
    Asked(monkeypatch, SEEN | gone)
    assert run("show", "a1").output.splitlines()[:2] == ["a1 is removed, since 2026-02-13 13:39Z.", "Connect it there."]
    Asked(monkeypatch, SEEN | gone | {"last_partner_user": "u-42"})
    assert run("show", "a1").output.startswith("a1 is removed, once linked to your user u-42, since 2026-02-13 13:39Z.")


def test_a_forget_asks_before_it_does_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, {"known": True, "forgotten": True, "gone_by": DAY})
    refused = run("forget", "a1", says="n\n")
    assert (asked.calls, refused.exit_code) == ([], 1)
    assert "cannot be linked again" in refused.output
    said = run("forget", "a1", says="y\n").output
    assert asked.calls == [("POST", "/v1/accounts/a1/forget")]
    assert "a1 is forgotten" in said
    assert "2026-03-26" in said


def test_a_forget_that_no_linker_has_done_yet_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, {"known": True, "forgotten": False, "gone_by": DAY})
    assert "`ringhook linker` (or `up`) deletes what is stored as soon as it runs" in run("forget", "a1", "--yes").output


def test_a_forget_of_an_id_under_which_nothing_is_kept_asks_whether_it_is_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, {"known": False, "forgotten": True, "gone_by": DAY})
    said = run("forget", "mistyped", "--yes").output
    assert "No link of mistyped is known" in said
    assert "is forgotten" not in said


@pytest.mark.parametrize("command", ["show", "forget"])
def test_an_empty_id_is_asked_for_before_anything_is(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    asked = Asked(monkeypatch, SEEN)
    told = run(command, "", *(["--yes"] if command == "forget" else []))
    assert (asked.calls, "Say which account" in str(told.exception)) == ([], True)
