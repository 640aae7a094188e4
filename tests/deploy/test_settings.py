from pathlib import Path

import msgspec
import pytest

from deploy.settings import schema, toml
from deploy.settings.source import Problems, Reader, dotenv, gather
from deploy.settings.values import listen, secret
from schemas.errors import Misconfigured


class Thing(msgspec.Struct):
    name: str
    size: int = 1


def document(text: str) -> toml.Document:
    return toml.Document(text, "ringhook.toml")


def test_a_dotenv_line_keeps_its_place_and_an_empty_value_is_no_value() -> None:
    values = dotenv('# A=1\nA=one\nexport B="two words"\nC=\nnonsense\n', ".env")
    assert {name: (value.text, value.where) for name, value in values.items()} == {
        "A": ("one", ".env:2"),
        "B": ("two words", ".env:3"),
    }


def test_the_real_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    values = gather({"A": "real", "B": ""}, tmp_path)
    assert (values["A"].text, values["B"].text) == ("real", "file")


def test_a_value_may_stand_in_a_mounted_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    reader = Reader(gather({"KEY_FILE": "key"}, tmp_path), tmp_path, Problems())
    assert reader.required("KEY", str, "", hint="a key") == "s3cret"
    reader.problems.end()


def test_everything_wrong_is_told_together_and_secrets_are_not_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY= \nPORT=x:y\nPASTED='canary '\n")
    problems = Problems()
    reader = Reader(gather({"GONE_FILE": "nowhere"}, tmp_path), tmp_path, problems)
    reader.required("KEY", str, "", hint="from the portal")
    reader.optional("PORT", listen)
    reader.optional("PASTED", secret)
    reader.optional("GONE", str)
    with pytest.raises(Misconfigured) as told:
        problems.end()
    message = str(told.value)
    assert message.startswith("The configuration has 4 problems:")
    assert "missing: KEY (from the portal)" in message
    assert ".env:2: PORT: is not host:port" in message
    assert ".env:3: PASTED" in message
    assert "environment: GONE_FILE names a file that cannot be read" in message
    assert "canary" not in message


def test_each_problem_of_the_file_has_its_line() -> None:
    problems = Problems()
    text = 'stray = 1\n[[thing]]\nname = "a"\nsize = "big"\n[[thing]]\ncolour = 1\n[wrong]\n'
    given = document(text)
    assert toml.tables(given, "thing", Thing, problems) == []
    toml.unknown_tables(given, ["thing"], problems)
    assert sorted(problems.found) == [
        "ringhook.toml:1: stray is not known here; known are thing",
        "ringhook.toml:4: size: Expected `int`, got `str`",
        "ringhook.toml:5: [thing] needs name",
        "ringhook.toml:6: colour is not known in [thing]; known are name, size",
        "ringhook.toml:7: wrong is not known here; known are thing",
    ]


def test_good_tables_come_with_their_places() -> None:
    problems = Problems()
    found = toml.tables(document('[[thing]]\nname = "a"\n\n[[thing]]\nname = "b"\nsize = 2\n'), "thing", Thing, problems)
    assert found == [(Thing("a"), "ringhook.toml:1"), (Thing("b", 2), "ringhook.toml:4")]
    problems.end()


def test_one_bracket_where_two_are_meant_is_said() -> None:
    problems = Problems()
    toml.tables(document('[thing]\nname = "a"\n'), "thing", Thing, problems)
    assert problems.found == ["ringhook.toml:1: write [[thing]], with two brackets: there may be several"]


@pytest.mark.parametrize("content", ["[", None])
def test_a_file_that_is_no_toml_or_not_there_is_a_problem(tmp_path: Path, content: str | None) -> None:
    path, problems = tmp_path / "ringhook.toml", Problems()
    if content is not None:
        path.write_text(content)
    toml.load(path, problems)
    assert len(problems.found) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:8080", ("127.0.0.1", 8080)), (":80", ("0.0.0.0", 80)), ("[::1]:9", ("::1", 9))]
)
def test_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    assert listen(text) == expected


def test_the_json_schema_that_ships_is_the_one_the_structs_make() -> None:
    assert schema.FILE.read_text() == schema.text()
