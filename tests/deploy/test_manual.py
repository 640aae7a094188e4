"""The page of each command says what the command says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import manual
from deploy.command import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text()
PRINTED = "import json; from deploy import manual; print(json.dumps(manual.pages()))"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """In a process of their own: a command remembers by which names its help was asked for first."""
    printed = subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, text=True, check=True, timeout=60).stdout
    found: dict[str, str] = json.loads(printed)
    return found


def test_every_page_is_current_and_there_is_no_other(pages: dict[str, str]) -> None:
    there = {path.name: path.read_text() for path in manual.FOLDER.glob("*.md")}
    assert there.keys() == pages.keys(), "python -m deploy.manual writes them"
    assert [name for name, text in pages.items() if there[name] != text] == [], "python -m deploy.manual writes them"


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_page_says_how_a_command_is_used_and_what_it_is_for(name: str, pages: dict[str, str]) -> None:
    page = pages[f"{name}.md"]
    assert f"Usage: ringhook {name}" in page
    assert page.count("\n\n") > 1
    assert all(len(line) <= manual.WIDTH for line in page.splitlines())


def test_the_readme_leads_there() -> None:
    assert "deploy/manual/README.md" in README
