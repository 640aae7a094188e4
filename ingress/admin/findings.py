"""`GET /v1/findings`: how far the connection to Ring has come, what is missing or wrong, and what to do about it."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from ingress.admin.api import Api
from ingress.link.progress import moment
from schemas.findings.facts import Facts
from schemas.findings.rules import findings
from schemas.findings.steps import checklist

DEADLINE_S: Final = 15.0  # three reads of the store, and its own patience


def add_findings(api: Api, gather: Callable[[], Awaitable[Facts]]) -> None:
    """Add the route (scope read); `gather` returns what is recorded just now, or raises Unavailable."""

    async def told(_request: web.Request) -> object:
        return shown(await gather())

    api.add("GET", "/v1/findings", "read", told, deadline_s=DEADLINE_S)


def shown(facts: Facts) -> object:
    """Return the checklist and the findings as builtins, the first to be done first."""
    steps = [msgspec.to_builtins(step) | {"at": moment(step.at) if step.at else None} for step in checklist(facts)]
    return {"steps": steps, "findings": msgspec.to_builtins(findings(facts))}
