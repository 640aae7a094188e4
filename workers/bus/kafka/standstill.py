"""Since when something of a partition has not moved. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from workers.bus.kafka.eos import Place

At = TypeVar("At")


def since(before: Mapping[Place, tuple[At, float]], at: Mapping[Place, At], now: float) -> dict[Place, tuple[At, float]]:
    """Return where each partition is, and since when it has been seen just there."""
    return {
        place: before[place] if place in before and before[place][0] == where else (where, now) for place, where in at.items()
    }


def longer_than(seconds: float, seen: Mapping[Place, tuple[At, float]], now: float) -> frozenset[Place]:
    """Return the partitions that have not moved for so long."""
    return frozenset(place for place, (_, began) in seen.items() if now - began >= seconds)
