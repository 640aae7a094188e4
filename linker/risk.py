"""The sweep that counts the accounts whose users will have to connect the app again, or may have to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from linker.metrics import AT_RISK
from linker.rows import RISKS
from linker.store import Store

MOST: Final = 100_000  # accounts that are counted: beyond it the number says enough
OFTEN: Final = timedelta(seconds=15)


@dataclass(frozen=True)
class AtRisk:
    """A Sweep. It reads an index that holds nothing but accounts at risk."""

    store: Store
    name: str = "linker.risk"

    async def __call__(self, now: datetime) -> timedelta:
        """Set the gauge. Raises Unavailable: it stays as it was."""
        del now
        found = await self.store.risks(MOST)
        for risk in RISKS:
            AT_RISK.labels(risk).set(found.get(risk, 0))
        return OFTEN
