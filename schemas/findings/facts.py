"""What is recorded of a connection to Ring, as the rules read it. Times are epoch seconds in UTC."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from schemas.records import LinkState, Notice

Mark = tuple[str, float]  # (what happened, when)
Cause = Literal["late", "client", "refused", "unanswered"]  # why a code came to nothing


class Contact(msgspec.Struct, frozen=True):
    """A kind of call that came at least once, and whether a signature, nonce or exchange proved it to be Ring's."""

    kind: Notice
    proven: bool


class Met(Contact, frozen=True, kw_only=True):
    """A kind of call that came, its first and its latest sample, at least how many, and what the latest looked like."""

    first_at: float
    last_at: float
    count: int = 1
    detail: Mapping[str, str] = msgspec.field(default_factory=dict)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far something has come, and why no further."""

    state: LinkState
    marks: tuple[Mark, ...] = ()
    reason: str | None = None


class Link(Progress, frozen=True, kw_only=True):
    """One code that Ring gave."""

    account: str | None = None
    cause: Cause | None = None


class SignIn(Progress, frozen=True, kw_only=True):
    """One sign-in that a user confirmed; `matched`: its nonce named a grant."""

    matched: bool = False


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How one destination fares."""

    name: str
    state: str
    failure: str | None = None
    behind: int | None = None
    behind_since: float | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the findings are made of; links and sign-ins are the newest few, the newest first."""

    now: float
    contacts: tuple[Met, ...] = ()
    links: tuple[Link, ...] = ()
    sign_ins: tuple[SignIn, ...] = ()
    reconnect: int = 0  # accounts whose tokens are lost: their users must connect the app again
    waiting_since: float | None = None  # since when the oldest event waits for its account's link
    destinations: tuple[Served, ...] = ()

    @property
    def completed(self) -> bool:
        """Say whether one of the newest links stands."""
        return any(link.state == "completed" for link in self.links)

    def met(self, kind: str, *, proven: bool | None = None) -> Met | None:
        """Return the contact of a kind that came latest, proven or not where that does not matter."""
        found = (one for one in self.contacts if one.kind == kind and proven in {None, one.proven})
        return max(found, key=lambda one: one.last_at, default=None)


def at(marks: tuple[Mark, ...], name: str) -> float | None:
    """Return when something happened last, None where it did not."""
    return max((when for what, when in marks if what == name), default=None)
