"""What only the bench needs of the machine."""

import shutil
from pathlib import Path
from typing import Final

from deploy.local.packages import Need


def _wrk() -> Path | None:
    found = shutil.which("wrk")
    return Path(found) if found else None


WRK: Final = Need("wrk, which makes the load", _wrk, ("wrk",))
