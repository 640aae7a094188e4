"""By which apps an account's webhooks may come, and until when those might that its grants left. Pure.

As the store writes them: `x,y` for the apps of now; `x@1770991200.5` for one that was there before, and until when.
"""

from collections.abc import Collection
from math import inf
from typing import Final

from schemas.records import App

MOST: Final = 8  # former apps of one account: whoever moves that often waits days between two of them
OPEN: Final = inf  # left for no other app: the account has no open grant, and nothing is compared


def written(apps: Collection[App]) -> str:
    """Return the apps of now as the store holds them."""
    return ",".join(sorted(apps))


def after(now: str, former: str, apps: Collection[App], at: float) -> str:
    """Return the former apps once an account comes to have these, in epoch seconds; the last that left are kept."""
    stood = _read(former) | dict.fromkeys(_split(now), OPEN)
    ended = {app: at if apps and until == OPEN else until for app, until in stood.items() if app not in apps}
    kept = sorted(ended.items(), key=lambda left: (left[1], left[0]))[-MOST:]
    return ",".join(f"{app}@{until!r}" for app, until in kept)


def foreign(now: str, former: str, app: App, at: float) -> bool:
    """Say whether what an app told at that time is not to be believed: it is none of the account's, and was none then."""
    return bool(now) and app not in _split(now) and at >= _read(former).get(app, 0.0)


def gone(now: str, app: App) -> bool:
    """Say whether an account has open grants, and none by that app."""
    return bool(now) and bool(app) and app not in _split(now)


def _split(text: str) -> list[str]:
    return text.split(",") if text else []


def _read(former: str) -> dict[App, float]:
    return {app: float(until) for app, _, until in (left.rpartition("@") for left in _split(former))}
