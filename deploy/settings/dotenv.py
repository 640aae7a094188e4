"""`.env`, line by line: its values, its empty assignments, and what its broken lines may have meant."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from deploy.settings.problems import Problems
from deploy.settings.text import NO_TEXT, Value, is_text

_LINE: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT: Final = re.compile(r"(^|\s)#")
_BEHIND_QUOTES: Final = re.compile(r"""(["']).*\1\s+#""")
_QUOTES: Final = ("'", '"')


class Dotenv(msgspec.Struct, frozen=True):
    """What a `.env` file gives."""

    values: dict[str, Value]
    empty: dict[str, str]  # where a name stands with nothing behind it: that is no value
    broken: set[str]  # the words of lines that cannot be read: one may be a name, and all is told of it


def parse(text: str, name: str, problems: Problems) -> Dotenv:
    """Return what the `NAME=value` lines give; quotes around a value are taken off.

    Noted are lines that are none, names that stand twice, comments behind a value, and quotes that stand alone.
    """
    found, seen = Dotenv({}, {}, set()), dict[str, int]()
    for number, variable, given in _assignments(text, name, problems, found.broken):
        where = f"{name}:{number}"
        if (first := seen.setdefault(variable, number)) != number:
            problems.add(where, f"{variable} stands here a second time, first in line {first}: keep one")
        try:
            value = unquoted(given)
        except ValueError as error:
            problems.add(where, f"{variable}: {error}")
            found.broken.add(variable)
            continue
        if value:
            found.values[variable] = Value(value, where)
        else:
            found.empty[variable] = where
    return found


def _assignments(text: str, name: str, problems: Problems, broken: set[str]) -> Iterator[tuple[int, str, str]]:
    """Yield each line that is one, as its number, name and value; of a value on many lines only the first is a problem."""
    quote = ""  # that begins a value, and does not end it on its line
    for number, line in enumerate(text.split("\n"), start=1):
        if not is_text(line):
            problems.add(f"{name}:{number}", NO_TEXT)
            broken.update(_WORD.findall(line))
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if found := _LINE.match(line):
            quote = found[2][0] if found[2].startswith(_QUOTES) and found[2].count(found[2][0]) == 1 else ""
            yield number, found[1], found[2]
            continue
        broken.update(_WORD.findall(line))
        if not quote:
            problems.add(f"{name}:{number}", "is not NAME=value (a comment begins with #)")
        elif line.rstrip().endswith(quote):
            quote = ""


def unquoted(text: str) -> str:
    """Return a value without the quotes around it, or raise ValueError in words that show nothing of it."""
    opened = text.startswith(_QUOTES)
    if _COMMENT.search(text) and (not opened or (_BEHIND_QUOTES.match(text) and text[-1] != text[0])):
        raise ValueError("a comment needs a line of its own (a # that belongs to the value: put the whole value between quotes)")
    if not opened and not text.endswith(_QUOTES):
        return text
    if len(text) == 1 or text[0] != text[-1]:
        raise ValueError("a quote stands alone: put the whole value between two of one kind on one line, or none")
    return text[1:-1]
