"""How often each token may call a route of this process: so many at once, so many a second. Pure."""

from dataclasses import dataclass, field


@dataclass
class Quota:
    """One bucket per token's name, of which the configuration has few; time is handed in."""

    rate: float = 50.0  # a second
    burst: float = 100.0
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)  # how much was left, and when

    def spend(self, name: str, at: float) -> float:
        """Take one; return 0, or the seconds until there is one where nothing was taken."""
        left, since = self._levels.get(name, (self.burst, at))
        left = min(self.burst, left + max(0.0, at - since) * self.rate)
        self._levels[name] = (left - 1 if left >= 1 else left, max(at, since))
        return 0.0 if left >= 1 else (1 - left) / self.rate
