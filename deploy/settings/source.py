"""Named values from the environment, from `.env` and from mounted files, with the place where each was found."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from deploy.settings.problems import Problems
from deploy.settings.text import Value, dotenv, read
from schemas.errors import Misconfigured

T = TypeVar("T")


def gather(environment: Mapping[str, str], directory: Path, problems: Problems) -> dict[str, Value]:
    """Return all named values of a directory: its `.env` below, the real environment above."""
    return _file(directory / ".env", problems) | {name: Value(text, "environment") for name, text in environment.items() if text}


def _file(path: Path, problems: Problems) -> dict[str, Value]:
    try:
        return dotenv(read(path), path.name, problems)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        problems.add(path.name, str(error))
        return {}


class Reader:
    """Takes values by name and notes every problem; what it returns after a problem is never used."""

    def __init__(self, values: Mapping[str, Value], directory: Path, problems: Problems) -> None:
        self._values = values
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
            return Value(self.content(file.text), str(self._directory / file.text))
        except ValueError as error:
            self._note(name, file.where, f"{name}_FILE names a file that {error}")
            return None

    def content(self, path: str) -> str:
        """Return the text of a mounted file without its line end, or raise ValueError in words that show nothing of it."""
        try:
            return read(self._directory / path).rstrip("\r\n")
        except FileNotFoundError as error:
            raise ValueError("cannot be read: No such file or directory") from error

    def sound(self, *names: str) -> bool:
        """Say whether none of these was a problem when it was taken."""
        return not self._unsound.intersection(names)

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
        if not self.has(name):
            self._note(name, "missing", f"{name} ({hint})")
        return self.default(name, parse, placeholder)

    def has(self, name: str) -> bool:
        """Say whether a value is given, by the name or by a file."""
        return name in self._values or f"{name}_FILE" in self._values

    def _note(self, name: str, where: str, what: str) -> None:
        self._unsound.add(name)
        self.problems.add(where, what)
