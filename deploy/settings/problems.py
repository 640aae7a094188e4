"""Everything wrong with a configuration, told together, in the order of files and lines."""

from schemas.errors import Misconfigured


class Wrong(Misconfigured):
    """A configuration with problems, each with its place."""

    def __init__(self, found: "Problems") -> None:
        """Keep them as facts too, for programs."""
        count = "1 problem" if len(found.facts) == 1 else f"{len(found.facts)} problems"
        super().__init__("\n".join([f"The configuration has {count}:", *(f"  {line}" for line in found.found)]))
        self.facts, self.lines = found.facts, found.found


class Problems:
    """Collects problems, each once."""

    def __init__(self) -> None:
        self._found: set[tuple[str, int, str]] = set()

    @property
    def found(self) -> list[str]:
        """Return each as `file:line: words`, by file and line."""
        return [f"{file}:{line}: {what}" if line else f"{file}: {what}" for file, line, what in sorted(self._found)]

    @property
    def facts(self) -> list[dict[str, str | int | None]]:
        """Return each as place, line (None where there are no lines) and words, by file and line."""
        return [{"place": file, "line": line or None, "problem": what} for file, line, what in sorted(self._found)]

    def add(self, where: str, what: str) -> None:
        """Note one problem at `.env:7`, `ringhook.toml:3`, `environment` or `missing`. `what` must not quote a secret."""
        file, _, line = where.rpartition(":")
        self._found.add((file, int(line), what) if line.isdecimal() else (where, 0, what))

    def end(self) -> None:
        """Raise Wrong, which is Misconfigured, with all of them, if there are any."""
        if self._found:
            raise Wrong(self)
