"""`ringhook.toml` into structs: every unknown key, missing key and wrong type at once, each with its line."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

from deploy.settings.source import Problems

S = TypeVar("S", bound=msgspec.Struct)
_HEADER: Final = re.compile(r"^\s*\[(\[?)\s*([A-Za-z0-9_.\-]+)\s*\]")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")


class Document:
    """A parsed file that knows on which line each table and key stands."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.data: dict[str, Any] = tomllib.loads(text)
        self._lines = _positions(text)

    def where(self, table: str, index: int = 0, key: str | None = None) -> str:
        """Return `file:line` of a key, else of its table, else the file."""
        line = self._lines.get((table, index, key)) or self._lines.get((table, index, None))
        return f"{self.name}:{line}" if line else self.name


def _positions(text: str) -> dict[tuple[str, int, str | None], int]:
    """Return the line of each (table, its index among tables of that name, key)."""
    lines: dict[tuple[str, int, str | None], int] = {}
    table, index, seen = "", 0, dict[str, int]()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header[2]
            index = seen.get(table, -1) + 1 if header[1] else 0
            seen[table] = index
            lines[table, index, None] = number
        elif key := _KEY.match(line):
            lines.setdefault((table, index, key[1]), number)
    return lines


def load(path: Path, problems: Problems) -> Document:
    """Read the file; one that is not there, or no TOML, is a problem and counts as empty."""
    try:
        return Document(path.read_text(), path.name)
    except FileNotFoundError:
        problems.add(path.name, "is not there; `ringhook init` writes one")
    except OSError as error:
        problems.add(path.name, f"cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.add(path.name, f"is not TOML: {error}")
    return Document("", path.name)


def tables(document: Document, name: str, struct: type[S], problems: Problems) -> list[tuple[S, str]]:
    """Return every `[[name]]` as a struct with the place where it stands."""
    found = document.data.get(name, [])
    if not isinstance(found, list):
        problems.add(document.where(name), f"write [[{name}]], with two brackets: there may be several")
        return []
    each = [Table(document, name, index, data) for index, data in enumerate(found)]
    built = ((one.build(struct, problems), one.where()) for one in each)
    return [(value, where) for value, where in built if value is not None]


def table(document: Document, name: str, struct: type[S], problems: Problems) -> S | None:
    """Return `[name]` as a struct, or None where it is missing or wrong."""
    found = document.data.get(name)
    return None if found is None else Table(document, name, 0, found).build(struct, problems)


def unknown_tables(document: Document, known: Sequence[str], problems: Problems) -> None:
    """Note every top-level name that means nothing here."""
    for name in document.data.keys() - set(known):
        as_table = document.where(name)
        where = document.where("", 0, name) if as_table == document.name else as_table
        problems.add(where, f"{name} is not known here; known are {', '.join(known)}")


class Table(msgspec.Struct, frozen=True):
    """One table of a document, not yet checked."""

    document: Document
    name: str
    index: int
    data: Any

    def where(self, key: str | None = None) -> str:
        """Return `file:line` of a key, or of the table."""
        return self.document.where(self.name, self.index, key)

    def build(self, struct: type[S], problems: Problems) -> S | None:
        """Return the table as a struct, or None after noting everything that is wrong with it."""
        if not isinstance(self.data, Mapping):
            problems.add(self.where(), f"{self.name} is not a table")
            return None
        before = len(problems.found)
        known = {field.encode_name: field for field in fields(struct)}
        for key in self.data.keys() - known.keys():
            problems.add(self.where(key), f"{key} is not known in [{self.name}]; known are {', '.join(known)}")
        for key, field in known.items():
            self._check(key, field, problems)
        return msgspec.convert(self.data, struct) if len(problems.found) == before else None

    def _check(self, key: str, field: FieldInfo, problems: Problems) -> None:
        """Note what is wrong with one key."""
        if key not in self.data:
            if field.required:
                problems.add(self.where(), f"[{self.name}] needs {key}")
            return
        try:
            msgspec.convert(self.data[key], field.type)
        except msgspec.ValidationError as error:
            problems.add(self.where(key), f"{key}: {error}")
