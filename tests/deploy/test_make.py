"""`make` makes .venv whole or again: a half-made one is never taken for it."""

import subprocess
from pathlib import Path
from shutil import copy

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
PYTHON = """#!/bin/sh
echo "$@" >> asked
case "$*" in
  *ensurepip*) {ensurepip} ;;
  "-m venv .venv") mkdir -p .venv/bin && touch .venv/bin/python && {venv} ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy(MAKEFILE, tmp_path)
    return tmp_path


def make(folder: Path, *, ensurepip: str = "exit 0", venv: str = "exit 0") -> tuple[int, str]:
    """Make .venv with a Python that does as it is told; return the exit code and what was said."""
    python = folder / "python"
    python.write_text(PYTHON.format(ensurepip=ensurepip, venv=venv))
    python.chmod(0o755)
    words = ("make", "--no-print-directory", ".venv/made", f"PYTHON={python}")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_without_venv_the_package_is_named_and_nothing_is_made(folder: Path) -> None:
    code, said = make(folder, ensurepip="exit 1")
    assert (code, "apt install python3-venv" in said, (folder / ".venv").exists()) == (2, True, False), said


def test_what_failed_half_way_is_made_anew_and_what_is_made_is_left(folder: Path) -> None:
    assert make(folder, venv="exit 1")[0] == 2
    assert (folder / ".venv/bin/python").exists()
    assert make(folder)[0] == 0
    (folder / "asked").unlink()
    assert make(folder)[0] == 0
    assert not (folder / "asked").exists()
