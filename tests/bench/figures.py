"""What was measured, as a table: each row with its rounds, what it stands beside, and what was asked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ours` and `beside` hold a value per round, in turn; ratios are of one round each."""

    what: str
    unit: str
    ours: Sequence[float]
    bound: float
    beside: Sequence[float] = ()
    sense: Literal["at least", "at most", "report"] = "at least"
    note: str = ""
    why: str = ""  # what is known of a shortfall; told where there is one

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline's, round by round."""
        return [mine / theirs for mine, theirs in zip(self.ours, self.beside, strict=True)] if self.beside else []

    @property
    def value(self) -> float:
        """The median that is held against the bound: a ratio where there is a baseline."""
        return median(self.ratios or self.ours)

    @property
    def verdict(self) -> str:
        """`yes`, `no`, or nothing where nothing was asked."""
        if self.sense == "report":
            return ""
        return "yes" if (self.value >= self.bound if self.sense == "at least" else self.value <= self.bound) else "**no**"


class Run(NamedTuple):
    """One run of one contender: how many a second, and its own CPU seconds for each."""

    rate: float
    cpu: float


def versus(what: str, bound: float, ours: Sequence[Run], beside: Sequence[Run], note: str, *, why: str = "") -> Figure:
    """Return the figure of two contenders' rounds; their CPU, which others on the machine disturb less, goes into the note."""
    cpu = f"CPU per event: ours {_micro(ours)}, baseline {_micro(beside)}"
    return Figure(what, "/s", [run.rate for run in ours], bound, [run.rate for run in beside], note=f"{note}; {cpu}", why=why)


def _micro(runs: Sequence[Run]) -> str:
    return f"{median(run.cpu for run in runs) * 1e6:.0f} µs"


HEAD = ("what", "measured", "baseline", "ratio", "asked", "reached")


def cells(figure: Figure) -> tuple[str, ...]:
    """Return one line's cells, medians first and the spread of the rounds behind them."""
    asked = (
        "report"
        if figure.sense == "report"
        else f"{figure.sense} {figure.bound:g}" + ("" if figure.beside else f" {figure.unit}")
    )
    beside = f"{spread(figure.beside)} {figure.unit}" if figure.beside else ""
    ratio = spread(figure.ratios, places=2) if figure.ratios else ""
    return figure.what, f"{spread(figure.ours)} {figure.unit}", beside, ratio, asked, figure.verdict


def spread(values: Sequence[float], places: int | None = None) -> str:
    """Return `median (least to greatest)`."""
    digits = places if places is not None else (0 if median(values) >= 100 else 1)
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def text(figures: Sequence[Figure]) -> str:
    """Return the table for a terminal."""
    rows = [HEAD, *(cells(figure) for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *notes(figures)])


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table for a page."""
    rows = [HEAD, ("---",) * len(HEAD), *(cells(figure) for figure in figures)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *notes(figures)])


def notes(figures: Sequence[Figure]) -> list[str]:
    """Return what else there is to say, a line each."""
    return [f"- {figure.what}: {figure.note}" for figure in figures if figure.note]
