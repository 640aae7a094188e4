"""`ringhook.toml` as a file: what stands in it, on which lines, and what can be said where it cannot be read."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from deploy.settings import syntax
from deploy.settings.lines import positions
from deploy.settings.problems import Problems
from deploy.settings.text import Unread, place, read

LONGEST: Final = 10_000  # characters of a line: a name of as many parts keeps the parser busy for a second
DEEPEST: Final = 50  # values within values: a filter has ten at most


class Document:
    """A parsed file that knows on which line each table and key stands."""

    whole = True  # everything of the file is here, so that what is not here is missing

    def __init__(self, text: str, name: str) -> None:
        """Parse the text; TOMLDecodeError where that cannot be done, Unread where nobody should try."""
        self.name = name
        self.data: dict[str, Any] = _shallow(text)
        self._lines = positions(text)

    def may_mention(self, word: str) -> bool:
        """Say whether a word may stand in what could not be read."""
        del word
        return False

    def where(self, table: str, index: int = 0, key: str | None = None) -> str:
        """Return `file:line` of a key, else of its table, else the file."""
        candidates = ((table, index, key), (table, index, None), ("", 0, table))  # the last: name = {…}, name = […]
        return place(self.name, next((self._lines[each] for each in candidates if each in self._lines), None))


class Unreadable(Document):
    """A file that gave no tables: why is told already, and nothing else is to be said of it."""

    whole = False

    def __init__(self, text: str | None, name: str) -> None:
        """Keep the text, None where there is none either."""
        super().__init__("", name)
        self._text = text

    def may_mention(self, word: str) -> bool:
        """Say whether the word stands in the text, or may, as far as can be told."""
        return self._text is None or word in self._text


def load(path: Path, name: str, problems: Problems, *, expected: bool = True) -> Document:
    """Read the file; one that is not there (unless it may not be `expected`), or cannot be read, is a problem."""
    text = None
    try:
        text = read(path)
        return Document(text, name)
    except FileNotFoundError:
        text = ""  # so that it mentions nothing
        if expected:
            problems.add(name, "is not there; `ringhook init` writes a ringhook.toml, RINGHOOK_CONFIG names another file")
    except Unread as error:
        problems.add(place(name, error.line), str(error))
    except ValueError as error:
        line, words = syntax.told(error, text or "")
        problems.add(place(name, line), words)
    return Unreadable(text, name)


def _shallow(text: str) -> dict[str, Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST:
            raise Unread(f"line {number} has more than {LONGEST:,} characters")
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise Unread(f"has values more than {DEEPEST} deep in one another") from None
    level: list[object] = [data]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _within(one)]
    if level:
        raise Unread(f"has values more than {DEEPEST} deep in one another")
    return data


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
