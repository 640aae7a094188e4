"""Doing what the store refuses for now again, until it is done or the session is asked to end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from schemas.errors import Unavailable
from workers.bus.contract import Revoked, Stop, Unknown
from workers.runtime import metrics
from workers.runtime.backoff import Backoff
from workers.runtime.delay import Delay
from workers.runtime.storefault import OutcomeUnknown
from workers.runtime.supervise import wait_or_stop

Result = TypeVar("Result")
LONGEST: Final = 5.0  # seconds between two tries


@dataclass(frozen=True)
class Insist:
    """Repeats, with growing jittered pauses; `job` is whose step it is, for logs and metrics."""

    job: str
    stop: Stop
    delay: Delay

    async def __call__(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """Return what came of it. Revoked: `stop` came first. Unknown: nobody can say whether it was written."""
        backoff = Backoff(first=0.05, longest=LONGEST)
        while not self.stop.is_set():
            try:
                result = await act()
            except OutcomeUnknown as error:
                raise Unknown("the store did not say whether the step was written") from error
            except Unavailable as error:
                self.refused(error)
                await wait_or_stop(self.stop, backoff.next())
            else:
                self.delay.goes_on("step.resumed", job=self.job)
                return result
        raise Revoked

    def refused(self, error: Unavailable) -> None:
        """Tell that the store does not take it now."""
        metrics.STEP_RETRIES.labels(job=self.job).inc()
        self.delay.waits("step.delayed", str(error), job=self.job)
