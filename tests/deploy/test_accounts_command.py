"""`ringhook accounts list`: what it asks, prints and says where nothing answers as it should."""

import socket
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from deploy.command.accounts import accounts, line
from deploy.settings.calling import read_calling
from linker.rows import RISKS
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering

ACCOUNT: dict[str, Any] = {
    "account": "a1",
    "state": "completed",
    "linked": True,
    "partner_user": "u-42",
    "last_partner_user": None,
    "changed_at": "2026-02-13T13:39:57+00:00",
    "risk": None,
    "tokens_end_at": "2026-03-15T13:39:57+00:00",
    "finding": None,
}


def page(*names: str, after: str | None = None) -> tuple[int, bytes]:
    return 200, orjson.dumps({"accounts": [ACCOUNT | {"account": name} for name in names], "next": after})


def run(*words: str) -> str:
    done = CliRunner().invoke(accounts, ["list", *words])
    if done.exception:
        raise done.exception
    return done.output


def test_it_goes_through_all_pages_and_shows_its_token(port: type[Answering]) -> None:
    port.answers = [page("a1", "a2", after="a2"), page("a3")]
    assert [words.split()[0] for words in run().splitlines()] == ["a1", "a2", "a3"]
    paths = [f"/v1/accounts?after={after}&limit=500&at_risk=false" for after in ("", "a2")]
    assert port.asked == [(path, "Bearer t0ken") for path in paths]


def test_as_json_it_is_one_object_a_line(port: type[Answering]) -> None:
    port.answers = [page("a1", "a2")]
    assert [orjson.loads(words)["account"] for words in run("--json", "--at-risk").splitlines()] == ["a1", "a2"]
    assert "at_risk=true" in port.asked[0][0]


def test_where_there_are_none_it_says_so(port: type[Answering]) -> None:
    port.answers = [page(), page(), page()]
    assert run() == "No account is known yet.\n"
    assert run("--at-risk") == "No account is at risk.\n"
    assert run("--json") == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, b'{"error": {"code": "unauthorized", "message": "This token is not known."}}'), "401: This token is not known."),
        ((200, b"<html>"), "is not the internal port of"),
        ((302, b""), "is not the internal port of"),
        ((500, b"[]"), "is not the internal port of"),
    ],
)
def test_what_answers_otherwise_is_told_in_a_sentence(port: type[Answering], answer: tuple[int, bytes], words: str) -> None:
    port.answers = [answer]
    with pytest.raises(Misconfigured, match=words) as told:
        run()
    assert "t0ken" not in str(told.value)


def test_where_nothing_listens_it_names_the_address_and_what_to_do(port: type[Answering], tmp_path: Path) -> None:
    del port
    (tmp_path / ".env").write_text("RINGHOOK_TOKEN=t0ken\nRINGHOOK_INTERNAL_LISTEN=0.0.0.0:1\n")
    with pytest.raises(Misconfigured, match=r"not reached at http://127\.0\.0\.1:1: .*It must be running"):
        run()


def hanging_up(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            with server.accept()[0] as taken:
                taken.recv(65_536)


def test_where_something_else_listens_it_says_so(port: type[Answering], tmp_path: Path) -> None:
    del port
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / ".env").write_text(f"RINGHOOK_TOKEN=t0ken\nRINGHOOK_INTERNAL_LISTEN=127.0.0.1:{server.getsockname()[1]}\n")
        Thread(target=hanging_up, args=[server], daemon=True).start()
        with pytest.raises(Misconfigured, match="what listens there does not speak HTTP"):
            run()


def test_every_risk_is_told_in_words() -> None:
    for risk in RISKS:
        words = line(ACCOUNT | {"risk": risk})
        assert risk not in words
        assert ("must be connected again: " in words) == risk.startswith("lost_")
    assert line(ACCOUNT) == "a1  completed  user u-42  tokens last until 2026-03-15T13:39Z"
    assert line(ACCOUNT | {"tokens_end_at": None, "partner_user": None, "state": "lost"}) == "a1  lost"
    lost = ACCOUNT | {"tokens_end_at": None, "partner_user": None, "last_partner_user": "u-42", "state": "lost"}
    assert line(lost | {"risk": "lost_refused"}) == "a1  lost  user u-42  must be connected again: Ring does not renew its tokens"
    assert line(lost | {"risk": None}) == "a1  lost"
    waits = line(lost | {"risk": "lost_refused", "state": "unclaimed"})
    assert waits == "a1  unclaimed  user u-42  its user must sign in for its new connection: Ring does not renew its tokens"


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("", "http://127.0.0.1:8081"),
        ("RINGHOOK_INTERNAL_LISTEN=:9000", "http://127.0.0.1:9000"),
        ("RINGHOOK_INTERNAL_LISTEN=10.0.0.7:9000", "http://10.0.0.7:9000"),
        ("RINGHOOK_INTERNAL_LISTEN=[::1]:9000", "http://[::1]:9000"),
        ("RINGHOOK_INTERNAL_LISTEN=:9000\nRINGHOOK_INTERNAL_URL=http://admin.internal:81/", "http://admin.internal:81"),
    ],
)
def test_where_a_command_asks(tmp_path: Path, env: str, url: str) -> None:
    (tmp_path / ".env").write_text(f"RINGHOOK_TOKEN=t\n{env}\n")
    assert read_calling({}, tmp_path).url == url


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("", "RINGHOOK_TOKEN"),
        ("RINGHOOK_TOKEN=t\nRINGHOOK_INTERNAL_URL=admin:81", r"\.env:2: RINGHOOK_INTERNAL_URL: is not an address"),
        ("RINGHOOK_TOKEN=t\nRINGHOOK_INTERNAL_URL=http://admin:81/v1", "without a path"),
    ],
)
def test_what_is_missing_for_asking_is_told(tmp_path: Path, env: str, words: str) -> None:
    (tmp_path / ".env").write_text(f"{env}\n")
    with pytest.raises(Misconfigured, match=words):
        read_calling({}, tmp_path)
