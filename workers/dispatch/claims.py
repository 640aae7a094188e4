"""Who may have an id: the first event that asks for it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from schemas.events import suffixed

Outcome = Literal["published", "duplicate", "suffixed"]


class Wish(NamedTuple):
    """An event that wants to go out under this id; the digest is of its account, type and data id."""

    request_id: str
    digest: str


class Answer(NamedTuple):
    """Under which id an event goes out, if at all."""

    request_id: str
    outcome: Outcome


def first(wishes: Sequence[Wish]) -> dict[str, str]:
    """Return, for each id, the digest of the first event that wants it; in the order of ids, so that no two lanes deadlock."""
    digests: dict[str, str] = {}
    for wish in wishes:
        digests.setdefault(wish.request_id, wish.digest)
    return dict(sorted(digests.items()))


def strangers(wishes: Sequence[Wish], holders: Mapping[str, str]) -> list[Wish]:
    """Return what the events want whose id another event holds: the same id with a suffix of their own."""
    taken = {wish: Wish(suffixed(*wish), wish.digest) for wish in wishes if holders[wish.request_id] != wish.digest}
    return [*taken.values()]


def answers(wishes: Sequence[Wish], holders: Mapping[str, str], new: set[str]) -> list[Answer]:
    """Return the answer for each wish, in order; `holders` is who has each id now, `new` the ids that this step claimed."""
    free, answered = set(new), []
    for wish in wishes:
        mine = holders[wish.request_id] == wish.digest
        name = wish.request_id if mine else suffixed(*wish)
        outcome: Outcome = "duplicate" if name not in free else "published" if mine else "suffixed"
        free.discard(name)
        answered.append(Answer(name, outcome))
    return answered
