"""`ringhook token`: what it prints goes into ringhook.toml as it stands, and fits the token."""

import json
from hashlib import sha256

import pytest
from click.testing import CliRunner

from deploy.command.token import token
from deploy.settings.document import Document
from deploy.settings.lists import read_tokens
from deploy.settings.problems import Problems


def ran(*words: str) -> str:
    result = CliRunner().invoke(token, list(words))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["login", 'the "other" one', "dörte\n"])
def test_the_block_is_read_as_it_stands_and_knows_the_token(name: str) -> None:
    said = ran(name, "--scope", "claim", "--scope", "broker", "--scope", "claim")
    made = said.split("\n\n")[1]
    found = Problems()
    (read,) = read_tokens(Document(said[said.index("[[token]]") :], "ringhook.toml"), found)
    assert (read.name, read.sha256, read.scopes) == (name, sha256(made.encode()).hexdigest(), ("claim", "broker"))
    assert not found.found
    assert "`ringhook linker`, which lends tokens" in said


def test_each_is_new_and_scripts_read_json() -> None:
    first, second = (json.loads(ran("login", "--scope", "read", "--json")) for _ in range(2))
    assert first["token"] != second["token"]
    assert first["sha256"] == sha256(first["token"].encode()).hexdigest()
    assert (first["name"], first["scopes"]) == ("login", ["read"])


@pytest.mark.parametrize("words", [["login"], ["login", "--scope", "all"], ["", "--scope", "read"], ["--scope", "read"]])
def test_what_is_no_token_is_refused_in_words(words: list[str]) -> None:
    result = CliRunner().invoke(token, words)
    assert (result.exit_code, "Error: " in result.output) == (2, True)
