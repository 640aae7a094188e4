"""`GET /ring/account-link/progress`: follows one link live, as a page without scripts or as JSON."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import orjson
from aiohttp import web

from ingress.link.attempt import Attempt
from ingress.link.cookie import Cookie
from ingress.link.pages import HEADERS, page
from ingress.link.words import LED_NOWHERE, STEPS, TRY_LATER, plain, spoken
from schemas.errors import Unavailable
from schemas.ring.nonce import Freshness, check_time


class Progress(Protocol):
    """How far a link has come."""

    @property
    def state(self) -> str:
        """One of LinkState."""
        ...

    @property
    def steps(self) -> Sequence[tuple[str, float]]:
        """What happened, in words, and when, in epoch seconds."""
        ...

    @property
    def finding(self) -> str | None:
        """What is wrong and what to do, in words."""
        ...


class Attempts(Protocol):
    """Knows how far links have come; the linker's store does."""

    async def progress(self, attempt: str, partner_user: str | None = None) -> Progress | None:
        """Return the attempt's progress, that of this user alone where one is named; None: nothing is known of it.

        Raises Unavailable.
        """
        ...


LOOK_S: Final = 1.5  # seconds for the store to answer


@dataclass(frozen=True, slots=True)
class Follow:
    """Shows the attempt of this browser's cookie, and no other."""

    cookie: Cookie
    attempts: Attempts
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer JSON where it is asked for; 503, with the page still live, while the store is away. Raise Forbidden."""
        attempt = self.cookie.read(request)
        as_json = "application/json" in request.headers.get("Accept", "")
        try:
            facts = told(attempt, await self._progress(attempt), self.clock())
        except (Unavailable, TimeoutError):
            facts = {"state": "unknown", "steps": [], "finding": TRY_LATER}
        status = 503 if facts["state"] == "unknown" else 200
        if as_json:
            return web.Response(body=orjson.dumps(facts), status=status, content_type="application/json", headers=HEADERS)
        return _page(facts, status)

    async def _progress(self, attempt: Attempt) -> Progress | None:
        """Look up what this browser confirmed; another's may stand under the same attempt, where a cookie was put back.

        TimeoutError: a store that is silent; its own deadline comes later than the page's, and so may the end of a look that
        is cancelled: it is left to itself.
        """
        if not attempt.partner_user:
            return None
        look = asyncio.ensure_future(self.attempts.progress(attempt.id, attempt.partner_user))
        look.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        done, _ = await asyncio.wait({look}, timeout=LOOK_S)
        if not done:
            raise TimeoutError
        return look.result()


def told(attempt: Attempt, progress: Progress | None, now: datetime) -> dict[str, object]:
    """Return state, steps and finding as outsiders see them; where the linker does not know it, what the cookie knows."""
    if progress is not None:
        return shown(progress) | {"finding": plain(progress.finding)}
    if attempt.partner_user is None:
        return {"state": "started", "steps": [], "finding": None}
    if check_time(attempt.time, now) is Freshness.STALE:  # its row went with its account, or with a store set back
        return {"state": "expired", "steps": [], "finding": LED_NOWHERE}
    return {"state": "requested", "steps": [], "finding": None}


def shown(progress: Progress) -> dict[str, object]:
    """Return the progress as JSON says it, times in ISO 8601."""
    return {"state": progress.state, "steps": told_steps(progress.steps), "finding": progress.finding}


def told_steps(steps: Sequence[tuple[str, float]]) -> list[dict[str, str]]:
    """Return steps with names and ISO times."""
    return [{"name": name, "at": moment(at)} for name, at in steps]


def moment(at: float) -> str:
    """Return epoch seconds in ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def _page(facts: dict[str, object], status: int) -> web.Response:
    finding = facts["finding"] if isinstance(facts["finding"], str) else None
    title, words, warning, live = spoken(str(facts["state"]), finding)
    steps = facts["steps"] if isinstance(facts["steps"], list) else []
    return page(
        "progress.html",
        status=status,
        title=title,
        words=words,
        live=live,
        follows=live and words != TRY_LATER,
        warning=warning,
        steps=[step | {"words": STEPS.get(step["name"], step["name"]), "clock": step["at"][11:19]} for step in steps],
    )
