"""The reckoning at the demo's end: what went in, what came out where, and whether anything is missing or doubled."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from deploy.demo.partner import Service
from deploy.demo.walk import Sent

OK: Final = "as it must be"


class Line(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    expected: int
    found: int
    wrong: str = ""  # missing or doubled ids, in words

    @property
    def right(self) -> bool:
        """Say whether the line adds up."""
        return self.expected == self.found and not self.wrong


def reckon(sent: Sent, counted: Mapping[str, int], alerts: Service, archive: Service) -> Sequence[Line]:
    """Return the table. Pure but for reading the services' own books."""
    released = counted.get("released", 0)
    return (
        Line("events recorded, each once", len(sent.linked), counted.get("published", 0) + released),
        Line("of an account that is not linked: held back, as it must be", sent.waiting, counted.get("waiting", 0) - released),
        Line("copies with an id that was there already: dropped", sent.copies, counted.get("duplicate", 0)),
        Line("signed but unreadable: put aside with a reason", sent.quarantined, counted.get("not_an_envelope", 0)),
        Line("bad signature: answered 401", sent.refused, sent.refused),
        _arrived("at the alerts service", sent.linked, alerts),
        _arrived("at the archive", sent.linked, archive),
    )


def _arrived(where: str, ids: Collection[str], service: Service) -> Line:
    got = service.ids
    missing, foreign = set(ids) - set(got), set(got) - set(ids)
    doubled = len(got) - len(set(got))
    unordered = service.report()["unordered"]
    parts = {"missing": len(missing), "not owed": len(foreign), "doubled": doubled, "out of order": len(list(unordered))}  # type: ignore[call-overload] # a list
    return Line(where, len(ids), len(set(got)), ", ".join(f"{count} {name}" for name, count in parts.items() if count))
