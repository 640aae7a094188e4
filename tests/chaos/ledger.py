"""The ledger, judged from outside: what was acknowledged, what was recorded, what arrived at the partner's door."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence


class Ledger:
    """Ids that were answered 200, each with its account and its place in that account's order."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.sent: dict[str, tuple[str, int]] = {}

    def lost(self, recorded: Iterable[str]) -> set[str]:
        """Return what was acknowledged and is not there."""
        return self.acknowledged.keys() - set(recorded)

    def disorder(self, recorded: Sequence[str]) -> list[str]:
        """Return the accounts whose events stand in another order than they were acknowledged in; repeats count once."""
        order = defaultdict[str, list[int]](list)
        for name in dict.fromkeys(recorded):
            if name in self.sent:
                account, place = self.sent[name]
                order[account].append(place)
        return [account for account, places in order.items() if places != sorted(places)]


def doubled(recorded: Iterable[str]) -> dict[str, int]:
    """Return what is there more than once, with how often."""
    return {name: count for name, count in Counter(recorded).items() if count > 1}
