"""Everything wrong with a configuration, told together, in the order of files and lines."""

from schemas.errors import Misconfigured


class Problems:
    """Collects problems, each once."""

    def __init__(self) -> None:
        self._found: set[tuple[str, int, str]] = set()

    @property
    def found(self) -> list[str]:
        """Return each as `file:line: words`, by file and line."""
        return [f"{file}:{line}: {what}" if line else f"{file}: {what}" for file, line, what in sorted(self._found)]

    def add(self, where: str, what: str) -> None:
        """Note one problem at `.env:7`, `ringhook.toml:3`, `environment` or `missing`. `what` must not quote a secret."""
        file, _, line = where.rpartition(":")
        self._found.add((file, int(line), what) if line.isdecimal() else (where, 0, what))

    def end(self) -> None:
        """Raise Misconfigured with all of them, if there are any."""
        if self._found:
            count = "1 problem" if len(self._found) == 1 else f"{len(self._found)} problems"
            raise Misconfigured("\n".join([f"The configuration has {count}:", *(f"  {line}" for line in self.found)]))
