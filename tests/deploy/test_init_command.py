"""`ringhook init`: what it asks for on a terminal, and what it says of what was pasted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.command import init as command
from deploy.command.asking import QUESTIONS, asked, damage
from schemas.errors import Misconfigured

Run = Callable[..., Result]
CLIENT, SECRET, KEY, URL = (question.name for question in QUESTIONS)
GOOD = {
    CLIENT: "client-1234",
    SECRET: "the client's own secret",
    KEY: "an HMAC key, as it stands",
    URL: "https://ring.example.com",
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Sit before a terminal, in a clean environment."""
    monkeypatch.setattr(command, "interactive", lambda: True)
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)

    def running(*typed: str, options: tuple[str, ...] = ()) -> Result:
        done = CliRunner().invoke(command.init, [str(tmp_path / "ring"), *options], input="".join(f"{line}\n" for line in typed))
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return running


def env(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "ring" / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_it_asks_for_each_value_and_says_where_it_stands(run: Run, tmp_path: Path) -> None:
    said = run(*GOOD.values()).output
    assert {name: env(tmp_path)[name] for name in GOOD} == GOOD
    for words in ("in the portal, your app, its credentials", "shown once", "https://… without a path"):
        assert words in said
    assert "https://ring.example.com/ring/token-exchange/" in said
    assert (GOOD[SECRET] in said, GOOD[KEY] in said) == (False, False)
    assert (tmp_path / "ring" / ".env").stat().st_mode & 0o777 == 0o600


def test_what_is_damaged_is_asked_for_again_and_enter_leaves_it_out(run: Run, tmp_path: Path) -> None:
    said = run("two words", "client-1234", "", '"quoted-key"', "", "http://ring.example.com", "https://ring.example.com/").output
    made = env(tmp_path)
    assert [made[name] for name in (CLIENT, SECRET, KEY, URL)] == ["client-1234", "", "", "https://ring.example.com"]
    for words in ("This holds a space", "This has quotes around it", "This must begin with https://"):
        assert words in said
    assert "1. Fill in" in said


def test_what_the_environment_has_is_not_asked_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    said = run().output
    assert "Enter leaves one out" not in said
    assert env(tmp_path)[KEY] == GOOD[KEY]


def test_non_interactive_asks_nothing(run: Run, tmp_path: Path) -> None:
    run(options=("--non-interactive",))
    assert env(tmp_path)[CLIENT] == ""


def test_a_folder_that_is_taken_is_told_before_anything_is_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring" / ".env").write_text("")
    with pytest.raises(Misconfigured, match=r"holds \.env already"):
        run()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (CLIENT, "'client-1234'", "has quotes around it"),
        (CLIENT, "client 1234", "holds a space"),
        (SECRET, " a secret of some length", "white space"),
        (SECRET, "abcd…wxyz", "hidden by dots"),
        (KEY, "************1234", "hidden by dots"),
        (KEY, "short", "shorter than 8"),
        (KEY, "a key with\ta tab", "holds a tab"),
        (KEY, GOOD[SECRET], f"is {SECRET}'s value"),
        (URL, "ring.example.com", "is not an address"),
        (URL, "https://ring.example.com/ring", "without a path"),
    ],
)
def test_the_usual_damages_are_told(name: str, text: str, words: str) -> None:
    question = next(one for one in QUESTIONS if one.name == name)
    assert words in (damage(question, text, {SECRET: GOOD[SECRET]} if name == KEY else {}) or "")


def test_what_may_be_right_is_taken() -> None:
    typed = iter(GOOD.values())
    assert asked({}, lambda _line: None, lambda _name, _hidden: next(typed)) == GOOD
