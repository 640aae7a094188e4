"""Tables of `ringhook.toml` into structs: every unknown key, missing key, wrong type and senseless value, each with its line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import fields

from deploy.settings.document import Document
from deploy.settings.kinds import misfits
from deploy.settings.problems import Problems

S = TypeVar("S", bound=msgspec.Struct)


def _nothing(_value: object) -> Iterable[str]:
    return ()


class Kind(msgspec.Struct, Generic[S], frozen=True):
    """What a table may hold: the struct, and what else is wrong with one, each as `key: words` or `key, key: words`.

    `stand_in` holds sound values of the required keys: with those of a table that are wrong, the others are judged all the same.
    """

    struct: type[S]
    judge: Callable[[S], Iterable[str]] = _nothing
    stand_in: Mapping[str, Any] = {}


def tables(document: Document, name: str, kind: Kind[S], problems: Problems) -> list[tuple[S, "Table"]]:
    """Return every `[[name]]` that is whole as a struct, with the table that it was."""
    if not isinstance(document.data.get(name, []), list):
        problems.add(document.where(name), f"write [[{name}]], with two brackets: there may be several")
    built = ((entry.build(kind, problems), entry) for entry in entries(document, name))
    return [(value, entry) for value, entry in built if value is not None]


def entries(document: Document, name: str) -> list["Table"]:
    """Return every `[[name]]`, not yet checked."""
    found = document.data.get(name, [])
    return [Table(document, name, index, data) for index, data in enumerate(found)] if isinstance(found, list) else []


def table(document: Document, name: str, kind: Kind[S], problems: Problems) -> tuple[S | None, "Table"]:
    """Return `[name]` as a struct, None where it is missing or wrong, and the table itself."""
    if isinstance(document.data.get(name), list):
        problems.add(document.where(name), f"write [{name}], with one bracket: there is only one")
        return None, Table(document, name, 0, {})
    entry = Table(document, name, 0, document.data.get(name, {}))
    return entry.build(kind, problems) if name in document.data else None, entry


def unlike(document: Document, name: str, key: str, problems: Problems) -> None:
    """Note every `[[name]]` whose `key` has the value of another before it."""
    seen: dict[str, Table] = {}
    for entry in entries(document, name):
        value = entry.text(key)
        if value is not None and (first := seen.setdefault(value.casefold(), entry)) is not entry:
            problems.add(entry.where(key), f"{key}: is the same in another [[{name}]] ({first.where(key)})")


def unknown_tables(document: Document, known: Sequence[str], problems: Problems) -> None:
    """Note every top-level name that means nothing here."""
    for name in document.data.keys() - set(known):
        problems.add(document.where(name), f"{name} is not known here; known are {', '.join(known)}")


class Table(msgspec.Struct, frozen=True):
    """One table of a document, not yet checked."""

    document: Document
    name: str
    index: int
    data: Any

    def where(self, key: str | None = None) -> str:
        """Return `file:line` of a key, or of the table."""
        return self.document.where(self.name, self.index, key)

    @property
    def title(self) -> str:
        """Return the name in the brackets that it is written with."""
        return f"[[{self.name}]]" if isinstance(self.document.data.get(self.name), list) else f"[{self.name}]"

    def text(self, key: str) -> str | None:
        """Return what stands under `key`, if that is a text."""
        value = self.data.get(key) if isinstance(self.data, Mapping) else None
        return value if isinstance(value, str) else None

    def build(self, kind: Kind[S], problems: Problems) -> S | None:
        """Return the table as a struct, or None where that is not possible, after noting everything that is wrong with it."""
        if not isinstance(self.data, Mapping):
            problems.add(self.where(), f"{self.name} must be a table: {self.title} on a line of its own, then name = value")
            return None
        known = [field.encode_name for field in fields(kind.struct)]
        for key in self.data.keys() - set(known):
            problems.add(self.where(key), f"{key} is not known in {self.title}; known are {', '.join(known)}")
        wrong = self._wrong(kind.struct, problems)
        value = _sketch(self.data, kind, wrong)
        for words in kind.judge(value) if value is not None else ():
            self._judged(words, wrong, problems)
        return None if wrong else value

    def _wrong(self, struct: type[S], problems: Problems) -> set[str]:
        """Note what is wrong with each key by itself, and return those keys."""
        wrong = set()
        for field in fields(struct):
            key = field.encode_name
            if key in self.data:
                found = [(self.where(key), f"{key}: {words}") for words in misfits(self.data[key], field.type)]
            else:
                found = [(self.where(), f"{key}: is missing in this {self.title}")] if field.required else []
            for where, words in found:
                wrong.add(key)
                problems.add(where, words)
        return wrong

    def _judged(self, words: str, wrong: set[str], problems: Problems) -> None:
        """Note a judgement, unless a key that it rests on is wrong already."""
        keys = words.partition(":")[0].split(", ")
        if not wrong.intersection(keys):
            problems.add(self.where(next((key for key in keys if key in self.data), None)), words)


def _sketch(data: Mapping[str, Any], kind: Kind[S], wrong: set[str]) -> S | None:
    """Return the struct with stand-ins for what is wrong, or None where none is known."""
    known = {field.encode_name: field for field in fields(kind.struct)}
    given = {**kind.stand_in, **{key: value for key, value in data.items() if key in known and key not in wrong}}
    if any(field.required and key not in given for key, field in known.items()):
        return None
    return msgspec.convert(given, kind.struct)
