"""Named values from the environment, from `.env` and from mounted files, with the place where each was found."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from deploy.settings.values import secret
from schemas.errors import Misconfigured
from workers.runtime.secrets import Secret

T = TypeVar("T")
_LINE: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


class Value(msgspec.Struct, frozen=True):
    """A text and where it stands, for error messages (`.env:7`, `environment`)."""

    text: str
    where: str


class Problems:
    """Everything wrong with a configuration, told together."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Note one problem, once. `what` must not quote a secret."""
        if (problem := f"{where}: {what}") not in self.found:
            self.found.append(problem)

    def end(self) -> None:
        """Raise Misconfigured with all of them, if there are any."""
        if self.found:
            count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
            raise Misconfigured("\n".join([f"The configuration has {count}:", *(f"  {line}" for line in self.found)]))


def dotenv(text: str, name: str) -> dict[str, Value]:
    """Return the `NAME=value` lines of a `.env` file; quotes around a value are taken off, an empty value is none."""
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if (found := _LINE.match(line)) and not line.lstrip().startswith("#") and found[2] not in ("", '""', "''"):
            values[found[1]] = Value(_unquoted(found[2]), f"{name}:{number}")
    return values


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def gather(environment: Mapping[str, str], directory: Path) -> dict[str, Value]:
    """Return all named values of a directory: its `.env` below, the real environment above."""
    file = directory / ".env"
    values = dotenv(file.read_text(), ".env") if file.is_file() else {}
    return values | {name: Value(text, "environment") for name, text in environment.items() if text}


class Reader:
    """Takes values by name and notes every problem; what it returns after a problem is never used."""

    def __init__(self, values: Mapping[str, Value], directory: Path, problems: Problems) -> None:
        self._values = values
        self._directory = directory
        self.problems = problems

    def raw(self, name: str) -> Value | None:
        """Return the value of `name`, or the content of the file that `name_FILE` names."""
        if (value := self._values.get(name)) is not None:
            return value
        if (file := self._values.get(f"{name}_FILE")) is None:
            return None
        path = self._directory / file.text
        try:
            return Value(path.read_text().rstrip("\r\n"), str(path))
        except OSError as error:
            self.problems.add(file.where, f"{name}_FILE names a file that cannot be read: {error.strerror}")
            return None

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return the parsed value, or None where it is not set."""
        if (value := self.raw(name)) is None:
            return None
        try:
            return parse(value.text)
        except (ValueError, Misconfigured) as error:
            self.problems.add(value.where, f"{name}: {error}")
            return None

    def default(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed value, or the default where it is not set."""
        value = self.optional(name, parse)
        return default if value is None else value

    def required(self, name: str, parse: Callable[[str], T], placeholder: T, *, hint: str) -> T:
        """Return the parsed value; its absence is a problem, told with the hint."""
        if self.raw(name) is None and f"{name}_FILE" not in self._values:
            self.problems.add("missing", f"{name} ({hint})")
        return self.default(name, parse, placeholder)

    def secret_from(self, variable: str | None, file: str | None, where: str) -> Secret | None:
        """Return the secret that a line of the file (at `where`) names by variable or by path; a missing one is a problem."""
        if file is not None:
            return self._from_file(file, where)
        if variable is None:
            return None
        if self.raw(variable) is None:
            self.problems.add(where, f"{variable}, named here, is neither in the environment nor in .env")
        return self.optional(variable, secret)

    def _from_file(self, file: str, where: str) -> Secret | None:
        try:
            return secret((self._directory / file).read_text().rstrip("\r\n"))
        except (OSError, ValueError) as error:
            self.problems.add(where, f"{file}: {getattr(error, 'strerror', None) or error}")
            return None
