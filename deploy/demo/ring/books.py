"""What the endpoints share: the world, what was seen, what is to go wrong, the time and the limit of requests."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.ring.faults import Faults
from deploy.demo.ring.ledger import Ledger
from deploy.demo.ring.state import Account, World

RATE = 100  # requests a second over all endpoints, per client


@dataclass
class Budget:
    """Lets each client make so many requests within any one second, wherever that second begins."""

    rate: int = RATE
    spent: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def spend(self, client_id: str, now: float) -> int:
        """Return how many requests this client has left after this one; below zero it is refused, and does not count."""
        mine = self.spent[client_id]
        while mine and mine[0] <= now - 1:
            mine.popleft()
        if len(mine) < self.rate:
            mine.append(now)
            return self.rate - len(mine)
        return -1


@dataclass
class Books:
    """One simulated Ring; `completed` is called when an integration becomes it. While `awake` is not set, Ring stands still."""

    world: World
    ledger: Ledger = field(default_factory=Ledger)
    faults: Faults = field(default_factory=Faults)
    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.time
    completed: Callable[[Account], object] = lambda _: None
    skew: float = 0  # seconds by which Ring's clock goes before ours
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.awake.set()

    def now(self) -> float:
        """Return the time as Ring has it."""
        return self.clock() + self.skew


@dataclass(frozen=True)
class Asked:
    """One request, read."""

    method: str
    path: str
    body: bytes = b""
    media_type: str = ""
    bearer: str = ""

    @property
    def endpoint(self) -> str:
        """As faults name it."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """One answer: `body` as JSON, or `raw` as it is."""

    body: dict[str, Any]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
