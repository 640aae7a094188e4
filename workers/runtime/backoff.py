"""Growing, jittered pauses: the one way in which anything here waits before it tries again."""

from tenacity import RetryCallState, Retrying, wait_random_exponential


class Backoff:
    """Gives pauses in seconds: random between 0 and a bound that doubles from `first` up to `longest` (full jitter)."""

    def __init__(self, *, first: float, longest: float) -> None:
        self._wait = wait_random_exponential(multiplier=first, max=longest)
        self._state = RetryCallState(Retrying(), None, (), {})
        self._state.attempt_number = 0

    def next(self) -> float:
        """Return the pause after one more failure."""
        self._state.attempt_number += 1
        return self._wait(self._state)

    def reset(self) -> None:
        """Forget the failures: something succeeded."""
        self._state.attempt_number = 0

    @property
    def failures(self) -> int:
        """How many failures in a row there were."""
        return self._state.attempt_number
