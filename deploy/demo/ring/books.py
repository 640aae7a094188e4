"""What the endpoints share: the world, what was seen, what is to go wrong, the time and the limit of requests."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.ring.faults import Faults
from deploy.demo.ring.ledger import Ledger
from deploy.demo.ring.state import Account, World

RATE = 100  # requests a second over all endpoints, per client


@dataclass
class Budget:
    """Counts the requests of this second."""

    rate: int = RATE
    second: int = 0
    spent: int = 0

    def spend(self, now: float) -> int:
        """Return how many requests are left in this second after this one; below zero it is refused."""
        if int(now) != self.second:
            self.second, self.spent = int(now), 0
        self.spent += 1
        return self.rate - self.spent


@dataclass
class Books:
    """One simulated Ring; `completed` is called when an integration becomes it."""

    world: World
    ledger: Ledger = field(default_factory=Ledger)
    faults: Faults = field(default_factory=Faults)
    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.time
    completed: Callable[[Account], object] = lambda _: None


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
    """One answer, to be written as JSON."""

    body: dict[str, Any]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
