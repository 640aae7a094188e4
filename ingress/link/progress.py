"""`GET /ring/account-link/progress`: follows one link live, as a page without scripts or as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import orjson
from aiohttp import web

from ingress.link.attempt import Attempt
from ingress.link.cookie import Cookie
from ingress.link.pages import HEADERS, page
from ingress.link.words import STEPS, TRY_LATER, spoken
from schemas.errors import Unavailable


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

    async def progress(self, attempt: str) -> Progress | None:
        """Return the attempt's progress, None where nothing is known of it yet, or raise Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Follow:
    """Shows the attempt of this browser's cookie, and no other."""

    cookie: Cookie
    attempts: Attempts

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer JSON where it is asked for; 503, with the page still live, while the store is away. Raise Forbidden."""
        attempt = self.cookie.read(request)
        as_json = "application/json" in request.headers.get("Accept", "")
        try:
            facts = told(attempt, await self.attempts.progress(attempt.id))
        except Unavailable:
            facts = {"state": "unknown", "steps": [], "finding": TRY_LATER}
        status = 503 if facts["state"] == "unknown" else 200
        if as_json:
            return web.Response(body=orjson.dumps(facts), status=status, content_type="application/json", headers=HEADERS)
        return _page(facts, status)


def told(attempt: Attempt, progress: Progress | None) -> dict[str, object]:
    """Return state, steps and finding as outsiders see them; before the linker knows it, what the cookie knows."""
    if progress is None:
        return {"state": "requested" if attempt.partner_user else "started", "steps": [], "finding": None}
    return shown(progress)


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
