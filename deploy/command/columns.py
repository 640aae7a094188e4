"""Rows of words for a terminal, where they stand in columns, or for a program, which splits them at tabs."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from workers.runtime.logs import printable

NONE = "-"


def terminal() -> bool:
    """Say whether the output is read by a person."""
    return sys.stdout.isatty()


def second(at: str) -> str:
    """Return an ISO time in UTC to the second."""
    return f"{at[:10]} {at[11:19]}Z"


@dataclass
class Columns:
    """Puts rows in lines one after the other; a column is as wide as the widest that it has held."""

    names: Sequence[str]
    aligned: bool  # on a terminal
    _widths: list[int] = field(default_factory=list)

    def head(self) -> str:
        """Return the line of names."""
        return self.line(self.names)

    def lines(self, rows: Iterable[Sequence[str | None]]) -> Iterator[str]:
        """Yield whole rows, on a terminal under their names, and in columns that fit all of them."""
        rows = list(rows)
        if self.aligned and rows:
            list(map(self.line, rows))
            yield self.head()
        yield from map(self.line, rows)

    def line(self, cells: Sequence[str | None]) -> str:
        """Return the cells as a line, with what would not show itself, or paint the screen, escaped."""
        shown = [printable(cell) if cell else NONE for cell in cells]
        if not self.aligned:
            return "\t".join(shown)
        before = self._widths or [0] * len(shown)
        self._widths = [max(width, len(cell)) for width, cell in zip(before, shown, strict=True)]
        return "  ".join(cell.ljust(width) for cell, width in zip(shown, self._widths, strict=True)).rstrip()
