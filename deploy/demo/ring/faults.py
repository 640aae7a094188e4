"""What Ring does wrong next, by endpoint (`"POST /oauth/token"`): a status, a delay, an answer that never arrives."""

from collections import defaultdict, deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One spoiled answer: after `delay` seconds; with `drop` the call is handled and the connection then cut.

    A `status` is answered without handling the call; `headers` (`Retry-After`) go with it.
    """

    status: int | None = None
    delay: float = 0
    drop: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Faults:
    """A line of faults per endpoint; each is used once."""

    _waiting: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))

    def next(self, endpoint: str, fault: Fault, times: int = 1) -> None:
        """Spoil the next `times` answers of an endpoint, after those already in line."""
        self._waiting[endpoint].extend([fault] * times)

    def take(self, endpoint: str) -> Fault:
        """Return what is to go wrong now; a Fault of nothing where all is well."""
        line = self._waiting[endpoint]
        return line.popleft() if line else Fault()
