"""A list of keys as an operator keeps it: where it stands, and each `id:base64` of it as a text of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from deploy.settings.problems import Problems
from deploy.settings.source import Reader, gather
from schemas.errors import Misconfigured
from workers.runtime.sealing import Keyring


class Ring(msgspec.Struct, frozen=True):
    """The keys in their order, and where they stand (`.env:7`, `environment`, a mounted file)."""

    parts: tuple[str, ...]
    where: str

    @property
    def ids(self) -> list[str]:
        """Return their ids."""
        return [part.partition(":")[0] for part in self.parts]

    def part(self, name: str) -> str:
        """Return the text of one key."""
        return self.parts[self.ids.index(name)]

    def __repr__(self) -> str:
        """Name the keys, never show them."""
        return f"Ring({', '.join(self.ids)} in {self.where})"


def read(name: str, environment: Mapping[str, str], directory: Path) -> Ring:
    """Return the keys of this name, or raise Misconfigured in words that show nothing of them."""
    problems = Problems()
    found = Reader(gather(environment, directory, problems), directory, problems).raw(name)
    if found is None or any(name in problem for problem in problems.found):
        problems.end()  # it may stand in what cannot be read
    if found is None:
        raise Misconfigured(f"{name} is set neither in {directory.absolute() / '.env'} nor in the environment")
    try:
        Keyring.parse(found.text)
    except Misconfigured as error:
        raise Misconfigured(f"{found.where}: {name}: {error}") from error
    return Ring(tuple(part.strip() for part in found.text.split(",")), found.where)


def joined(parts: Sequence[str]) -> str:
    """Return the list as one text that is sure to be read again."""
    text = ",".join(parts)
    Keyring.parse(text)
    return text
