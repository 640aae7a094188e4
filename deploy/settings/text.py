"""Texts of files: `.env` line by line, and why a file gives none."""

import re
from pathlib import Path
from typing import Final

import msgspec

from deploy.settings.problems import Problems

_LINE: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_QUOTES: Final = ("'", '"')


class Value(msgspec.Struct, frozen=True):
    """A text and where it stands, for error messages (`.env:7`, `environment`)."""

    text: str
    where: str


def read(path: Path) -> str:
    """Return the text of a file; FileNotFoundError, or ValueError in words that show nothing of it."""
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows' editors begin with a mark
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def dotenv(text: str, name: str, problems: Problems) -> dict[str, Value]:
    """Return the `NAME=value` lines of a `.env` file; quotes around a value are taken off, an empty value is none.

    Noted are lines that are none, names that stand twice, and quotes that stand alone.
    """
    values, seen = dict[str, Value](), dict[str, int]()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{name}:{number}"
        if (found := _LINE.match(line)) is None:
            problems.add(where, "is not NAME=value (a comment begins with #)")
            continue
        if (first := seen.setdefault(found[1], number)) != number:
            problems.add(where, f"{found[1]} stands here a second time, first in line {first}: keep one")
        try:
            if value := unquoted(found[2]):
                values[found[1]] = Value(value, where)
        except ValueError as error:
            problems.add(where, f"{found[1]}: {error}")
    return values


def unquoted(text: str) -> str:
    """Return a value without the quotes around it, or raise ValueError in words that show nothing of it."""
    if not text.startswith(_QUOTES) and not text.endswith(_QUOTES):
        if " #" in text:
            raise ValueError("a comment needs a line of its own (or the whole value stands between quotes)")
        return text
    if len(text) == 1 or text[0] != text[-1]:
        raise ValueError("a quote stands alone: put the whole value between two of one kind, or none")
    return text[1:-1]
