"""The page of each command says what the command says."""

from pathlib import Path

import pytest

from deploy import manual
from deploy.command import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_page_is_current_and_there_is_no_other() -> None:
    wanted = manual.pages()
    there = {path.name: path.read_text() for path in manual.FOLDER.glob("*.md")}
    assert there.keys() == wanted.keys(), "python -m deploy.manual writes them"
    assert [name for name, text in wanted.items() if there[name] != text] == [], "python -m deploy.manual writes them"


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_page_says_how_a_command_is_used_and_what_it_is_for(name: str) -> None:
    page = manual.pages()[f"{name}.md"]
    assert f"Usage: ringhook {name}" in page
    assert page.count("\n\n") > 1
    assert all(len(line) <= manual.WIDTH for line in page.splitlines())


def test_the_readme_leads_there() -> None:
    assert "deploy/manual/README.md" in README
