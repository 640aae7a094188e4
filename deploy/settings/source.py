"""Named values from the environment, from `.env` and from mounted files, with the place where each was found."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from deploy.settings import dotenv
from deploy.settings.problems import Problems
from deploy.settings.text import Unread, Value, place, read, read_broken
from schemas.errors import Misconfigured

T = TypeVar("T")
ENVIRONMENT: Final = "environment"  # a place, for error messages


class Given(msgspec.Struct, frozen=True):
    """All named values, and what is known of names that have none."""

    values: Mapping[str, Value] = {}
    empty: Mapping[str, str] = {}  # where a name stands with nothing behind it
    broken: Collection[str] | None = ()  # what lines that cannot be read may have given; None: a whole file of them

    def hidden(self, name: str) -> bool:
        """Say whether a name has no value here because of something that cannot be read, which is told already."""
        return name not in self.values and (self.broken is None or name in self.broken)


def gather(environment: Mapping[str, str], directory: Path, problems: Problems) -> Given:
    """Return all named values of a directory: its `.env` below, the real environment above."""
    below = _file(directory / ".env", problems)
    above = {name: Value(text, ENVIRONMENT) for name, text in environment.items() if text}
    empty = {name: ENVIRONMENT for name, text in environment.items() if not text} | dict(below.empty)
    return Given({**below.values, **above}, empty, below.broken)


def _file(path: Path, problems: Problems) -> Given:
    try:
        found = dotenv.parse(read_broken(path), path.name, problems)
    except FileNotFoundError:
        return Given()
    except Unread as error:
        problems.add(place(path.name, error.line), str(error))
        return Given(broken=None)
    return Given(found.values, found.empty, found.broken)


class Reader:
    """Takes values by name and notes every problem; what it returns after a problem is never used."""

    def __init__(self, given: Given, directory: Path, problems: Problems) -> None:
        self._given = given
        self._values = given.values
        self._directory = directory
        self._unsound: set[str] = set()
        self.problems = problems

    def raw(self, name: str) -> Value | None:
        """Return the value of `name`, or the content of the file that `name_FILE` names."""
        value, file = self._values.get(name), self._values.get(f"{name}_FILE")
        if value is not None and file is not None:
            self.problems.add(file.where, f"{name}_FILE is set, and {name} too ({value.where}): keep one")
        if value is not None or file is None:
            return value
        try:
            return Value(self._mounted(file.text), str(self.located(file.text)))
        except ValueError as error:
            self._note(name, file.where, f"{name}_FILE names a file that {error}")
            return None

    def _mounted(self, path: str) -> str:
        if not (text := self.content(path)):
            raise ValueError("is empty")
        return text

    def content(self, path: str) -> str:
        """Return the text of a mounted file without its line end, or raise ValueError in words that show nothing of it."""
        try:
            return read(self.located(path)).rstrip("\n")
        except FileNotFoundError as error:
            raise ValueError("cannot be read: No such file or directory") from error

    def located(self, path: str) -> Path:
        """Return where a path of the configuration leads, which is meant from its folder."""
        return self._directory / path

    def sound(self, *names: str) -> bool:
        """Say whether none of these was a problem when it was taken, or when its file was read."""
        return not self._unsound.intersection(names) and not any(self.hidden(name) for name in names)

    def place(self, *names: str) -> str:
        """Return where the first of these that is set stands."""
        found = (self._values.get(name) or self._values.get(f"{name}_FILE") for name in names)
        return next((value.where for value in found if value is not None), "missing")

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return the parsed value, or None where it is not set."""
        if (value := self.raw(name)) is None:
            return None
        try:
            return parse(value.text)
        except (ValueError, Misconfigured) as error:
            self._note(name, value.where, f"{name}: {error}")
            return None

    def default(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed value, or the default where it is not set."""
        value = self.optional(name, parse)
        return default if value is None else value

    def required(self, name: str, parse: Callable[[str], T], placeholder: T, *, hint: str) -> T:
        """Return the parsed value; its absence is a problem, told with the hint."""
        self.need(name, ("missing", f"{name} ({hint})"), hint)
        return self.default(name, parse, placeholder)

    def need(self, name: str, absent: tuple[str, str], why: str) -> None:
        """Note a name without a value: at its empty assignment, or else as `absent` says; never one that is hidden."""
        if self.has(name) or self.hidden(name):
            return
        empty = ((each, self._given.empty.get(each)) for each in (name, f"{name}_FILE"))
        found = next(((where, f"{each} is empty ({why})") for each, where in empty if where), absent)
        self._note(name, *found)

    def has(self, name: str) -> bool:
        """Say whether a value is given, by the name or by a file."""
        return name in self._values or f"{name}_FILE" in self._values

    def hidden(self, name: str) -> bool:
        """Say whether a value may stand where nothing can be read: that is told once, at its own place."""
        return not self.has(name) and (self._given.hidden(name) or self._given.hidden(f"{name}_FILE"))

    def _note(self, name: str, where: str, what: str) -> None:
        self._unsound.add(name)
        self.problems.add(where, what)
