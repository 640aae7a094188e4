"""A file, or a line of one, that cannot be read is told once, and hides nothing that other places say."""

import codecs
from pathlib import Path

import pytest

from deploy import settings
from schemas.errors import Misconfigured
from tests.deploy.judged import DESTINATION, PORTAL, installed, told, wrong

BROKEN_TOML = ["[", 'x = "canary', "name: canary\n", "[signin]\n", "x = [1,\n", "# \u20ac".encode("latin-1", "replace") + b"\xe9"]
REQUIRED = ("RINGHOOK_PUBLIC_URL", "RINGHOOK_RING_CLIENT_ID", "RINGHOOK_RING_CLIENT_SECRET", "RINGHOOK_RING_HMAC_KEY")


def add(path: Path, more: str | bytes) -> int:
    """Append lines, and return the number of the first."""
    held = path.read_bytes()
    path.write_bytes(held + (more if isinstance(more, bytes) else more.encode()))
    return held.count(b"\n") + 1


def test_what_init_writes_names_the_line_of_each_value_that_is_to_be_filled_in(tmp_path: Path) -> None:
    installed(tmp_path, {})
    lines = (tmp_path / ".env").read_text().splitlines()
    places = {name: lines.index(f"{name}=") + 1 for name in PORTAL}
    assert [problem.split(" (")[0] for problem in told(tmp_path)] == [
        f".env:{line}: {name} is empty" for name, line in sorted(places.items(), key=lambda item: item[1])
    ]


def test_an_empty_value_of_the_environment_is_told_where_nothing_else_stands(tmp_path: Path) -> None:
    installed(tmp_path)
    kept = [line for line in (tmp_path / ".env").read_text().splitlines() if "PUBLIC_URL" not in line]
    (tmp_path / ".env").write_text("\n".join(kept))
    (problem,) = told(tmp_path, environment={"RINGHOOK_PUBLIC_URL": ""})
    assert problem.startswith("environment: RINGHOOK_PUBLIC_URL is empty (what Ring and browsers call")
    (problem,) = told(tmp_path)
    assert problem.startswith("missing: RINGHOOK_PUBLIC_URL (what Ring and browsers call")


def test_an_empty_value_that_the_file_names_is_told_at_its_own_line(tmp_path: Path) -> None:
    assert wrong(tmp_path, "EMPTY=\n", DESTINATION.replace("ALERTS", "EMPTY")) == [
        ".env:+1: EMPTY is empty (secret_env in ringhook.toml:26 names it)"
    ]


def test_an_empty_mounted_file_is_no_value(tmp_path: Path) -> None:
    installed(tmp_path, PORTAL | {"RINGHOOK_RING_HMAC_KEY": ""})
    (tmp_path / "key").write_text("\n")
    assert told(tmp_path, environment={"RINGHOOK_RING_HMAC_KEY_FILE": "key"}) == [
        "environment: RINGHOOK_RING_HMAC_KEY_FILE names a file that is empty"
    ]


@pytest.mark.parametrize("more", BROKEN_TOML)
def test_a_file_of_lists_that_cannot_be_read_is_one_problem_with_its_line(tmp_path: Path, more: str | bytes) -> None:
    installed(tmp_path)
    line = add(tmp_path / "ringhook.toml", more)
    (problem,) = told(tmp_path)
    assert problem.startswith((f"ringhook.toml:{line}: is not TOML: ", f"ringhook.toml:{line}: is not UTF-8 text"))


def test_a_line_without_end_is_one_problem(tmp_path: Path) -> None:
    installed(tmp_path)
    line = add(tmp_path / "ringhook.toml", f"{'a.' * 300_000}a = 1\n")
    assert told(tmp_path) == [f"ringhook.toml: line {line} has more than 10,000 characters"]


@pytest.mark.parametrize("deep", [f"{'[' * 4_000}{']' * 4_000}", f"{'{not=' * 900}1{'}' * 900}", f"{'{not=' * 60}1{'}' * 60}"])
def test_a_file_of_lists_without_end_is_one_problem(tmp_path: Path, deep: str) -> None:
    installed(tmp_path)
    add(tmp_path / "ringhook.toml", f"filter = {deep}\n")
    assert told(tmp_path) == ["ringhook.toml: has values more than 50 deep in one another"]


@pytest.mark.parametrize("more", BROKEN_TOML)
def test_it_hides_no_problem_of_other_places(tmp_path: Path, more: str | bytes) -> None:
    installed(tmp_path, {})
    add(tmp_path / "ringhook.toml", more)
    add(tmp_path / ".env", "RINGHOOK_LOG_LEVEL=loud\n")
    problems = told(tmp_path, environment={"RINGHOOK_RING_RATE": "fast"})
    assert [problem.partition(": ")[2].split()[0].rstrip(":") for problem in problems] == [
        *("RINGHOOK_RING_CLIENT_ID", "RINGHOOK_RING_CLIENT_SECRET", "RINGHOOK_RING_HMAC_KEY", "RINGHOOK_PUBLIC_URL"),
        *("RINGHOOK_LOG_LEVEL", "RINGHOOK_RING_RATE", "is"),
    ]


def test_a_file_of_lists_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / "ringhook.toml").unlink()
    assert [problem.split(";")[0] for problem in told(tmp_path)] == ["ringhook.toml: is not there"]
    assert [problem.split(";")[0] for problem in told(tmp_path, environment={"RINGHOOK_CONFIG": "conf/x.toml"})] == [
        "conf/x.toml: is not there"
    ]


def test_a_name_that_an_unreadable_file_of_lists_may_mention_is_not_called_unknown(tmp_path: Path) -> None:
    installed(tmp_path)
    add(tmp_path / ".env", "RINGHOOK_ALERTS=x\nRINGHOOK_RING_RATES=1\n")
    add(tmp_path / "ringhook.toml", DESTINATION.replace("ALERTS", "RINGHOOK_ALERTS") + "= 1\n")
    assert [problem.partition(": ")[2][:22] for problem in told(tmp_path)] == ["RINGHOOK_RING_RATES is", "is not TOML: is neithe"]


def test_each_line_of_an_env_that_is_no_text_is_told_beside_all_that_is_wrong(tmp_path: Path) -> None:
    installed(tmp_path)
    line = add(tmp_path / ".env", b"# fine\n# caf\xe9\n\xff=\nRINGHOOK_RING_RATE=fast\n") + 1
    assert told(tmp_path) == [
        f".env:{line}: is not UTF-8 text: save it as UTF-8",
        f".env:{line + 1}: is not UTF-8 text: save it as UTF-8",
        f".env:{line + 2}: RINGHOOK_RING_RATE: is not a number",
    ]


def test_an_env_in_another_encoding_is_one_problem(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / ".env").write_text((tmp_path / ".env").read_text(encoding="latin-1"), encoding="utf-16")
    assert told(tmp_path) == [".env:1: is not UTF-8 text: save it as UTF-8"]


def test_an_unreadable_env_hides_no_problem_of_other_places(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / ".env").write_bytes(codecs.BOM_UTF16_LE)
    add(tmp_path / "ringhook.toml", DESTINATION + "timeout_s = 60\nconcurrency = 0\n")
    environment = {"RINGHOOK_RING_HMAC_KEY_NEXT": "canary", "RINGHOOK_RING_RATE": "fast"}
    assert told(tmp_path, environment=environment) == [
        ".env:1: is not UTF-8 text: save it as UTF-8",
        "environment: RINGHOOK_RING_RATE: is not a number",
        "ringhook.toml:28: concurrency: must be between 1 and 1000",
    ]


def test_an_env_that_may_name_another_file_of_lists_leaves_a_missing_one_untold(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"RINGHOOK_CONFIG=caf\xe9.toml\n")
    problems = told(tmp_path)
    assert problems[0] == ".env:1: is not UTF-8 text: save it as UTF-8"
    assert not any(problem.startswith("ringhook.toml") for problem in problems)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("{name}=canary # from the portal", "{name}: a comment needs a line of its own"),
        ("{name}= # from the portal", "{name}: a comment needs a line of its own"),
        ('{name}="canary" # from the portal', "{name}: a comment needs a line of its own"),
        ('{name}="canary', "{name}: a quote stands alone"),
        ("{name}: canary", "is not NAME=value"),
        ("{name} canary", "is not NAME=value"),
        ("set {name}=canary", "is not NAME=value"),
        ("{name}_FILE: canary", "is not NAME=value"),
    ],
)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_line_that_cannot_be_read_is_told_once(tmp_path: Path, name: str, broken: str, words: str) -> None:
    installed(tmp_path)
    lines = (tmp_path / ".env").read_text().splitlines()
    line = next(number for number, line in enumerate(lines) if line.startswith(f"{name}="))
    lines[line] = broken.format(name=name)
    (tmp_path / ".env").write_text("\n".join(lines))
    (problem,) = told(tmp_path)
    assert problem.startswith(f".env:{line + 1}: " + words.format(name=name))


def test_a_broken_line_of_a_secret_that_the_file_names_is_told_once(tmp_path: Path) -> None:
    (problem,) = wrong(tmp_path, "OTHER=canary # mine\n", DESTINATION.replace("ALERTS", "OTHER"))
    assert problem.startswith(".env:+1: OTHER: a comment needs")


def test_a_value_on_many_lines_is_told_at_its_first(tmp_path: Path) -> None:
    (one, other) = wrong(tmp_path, 'PEM="canary\ncanary\ncanary"\ncanary\n')
    assert one.startswith(".env:+1: PEM: a quote stands alone")
    assert other.startswith(".env:+4: is not NAME=value")


def test_a_line_after_one_with_a_comment_is_told_by_itself(tmp_path: Path) -> None:
    assert len(wrong(tmp_path, 'A="canary" # mine\ncanary\n')) == 2


def test_nothing_is_concluded_from_the_default_of_a_value_that_cannot_be_read(tmp_path: Path) -> None:
    lines = "RINGHOOK_BUS_URL=kafka://h?session_timeout_s=90 # Kafka\nRINGHOOK_STORE_URL=sqlite:///var/bus.db\n"
    (problem,) = wrong(tmp_path, lines, DESTINATION + "timeout_s = 60\n")
    assert problem.startswith(".env:+1: RINGHOOK_BUS_URL: a comment needs")
    lines = "RINGHOOK_BUS_URL=kafka://h?session_timeout=90\nRINGHOOK_STORE_URL=postgresql://h/x\n"
    (problem,) = wrong(tmp_path, lines, DESTINATION + "timeout_s = 60\n")
    assert "parameter that is not known" in problem


def test_a_misspelt_name_is_told_where_ringhook_toml_is_missing_too(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / "ringhook.toml").unlink()
    found = told(tmp_path, environment={"RINGHOOK_VAULT_KEY": "canary"})
    assert any("RINGHOOK_VAULT_KEY is not a name that ringhook knows" in problem for problem in found)


def test_a_hash_may_stand_in_a_value(tmp_path: Path) -> None:
    assert wrong(tmp_path, "A=a#b\nB='#c'\nC=\"d # e\"\n") == []


def test_a_folder_without_any_configuration_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        settings.read("up", {"PATH": "/bin"}, tmp_path)
    assert str(caught.value).startswith(
        f"There is no configuration in {tmp_path}, neither .env nor ringhook.toml: `ringhook init`"
    )
    assert len(told(tmp_path, environment={"RINGHOOK_LOG_LEVEL": "info"})) == len(REQUIRED) + 5
