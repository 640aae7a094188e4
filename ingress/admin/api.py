"""`/v1`: JSON in, JSON out, and a scope declared on every route."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from ingress.admin.bodies import Bodies, demand_json
from ingress.admin.gate import Gate
from ingress.admin.query import queried
from ingress.errors import Answer, Later, NotFound
from ingress.link.progress import Attempts, moment, shown, told_steps
from ingress.link.signin.handoff import Claimed, Handoff
from ingress.route import Handler, guarded
from ingress.settings import Scope
from schemas.errors import Rejected, Unavailable
from schemas.ring.fields import text
from schemas.ring.nonce import WINDOW

Answering = Callable[[web.Request], Awaitable[object]]
T = TypeVar("T")
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
SCOPES: Final = web.AppKey("SCOPES", dict[tuple[str, str], Scope])  # (method, path) → what a token needs for it
CALLER: Final = web.RequestKey("CALLER", str)  # the name of the token that was shown
HELD: Final = web.RequestKey("HELD", tuple[Scope, ...])  # and what else it is good for
CODES: Final = {401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 413: "too_large"} | {
    415: "json_only",
    421: "misdirected",
    422: "unprocessable",
    429: "too_many_requests",
    503: "unavailable",
}
CLAIMED: Final = "claimed by your login"
GONE: Final = "and not confirmed in time, or what became of it is not kept any more"
AWAY: Final = "Cannot be looked up just now; try again in a moment."


class Accounts(Protocol):
    """Knows the accounts; the linker's store does."""

    async def describe(self, account: str) -> object | None:
        """Return what is known of an account, without secrets, or None.

        `steps` in it are (what happened, epoch seconds), and `…_at` are epoch seconds.
        """
        ...

    async def accounts(self, *, after: str, limit: int, at_risk: bool) -> object:
        """Return `accounts` in the order of their ids, those that follow `after`, and `next`; times as above."""
        ...


class Claims(Protocol):
    """Knows which sign-ins a login page has claimed."""

    async def claimed_at(self, attempt: str) -> float | None:
        """Return when the attempt was claimed, in epoch seconds; None: it was not, or long ago."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """Adds routes of `/v1` to an internal application; each names the scope it needs, or it cannot be added."""

    application: web.Application
    gate: Gate
    bodies: Bodies = field(default_factory=Bodies)
    deadline_s: float = 10.0

    def add(self, method: str, path: str, scope: Scope, answering: Answering, *, deadline_s: float | None = None) -> None:
        """Add a route whose answer is encoded as JSON; its errors are those of `ingress.errors`."""
        self.application.setdefault(SCOPES, {})[method, path] = scope
        handler, render = self._gated(scope, answering), unread if method == "GET" else refused
        route = guarded("v1", handler, deadline_s=deadline_s or self.deadline_s, render=render)
        self.application.router.add_route(method, path, route)

    def _gated(self, scope: Scope, answering: Answering) -> Handler:
        async def gated(request: web.Request) -> web.Response:
            token = self.gate.admit(request.headers, scope)
            request[CALLER], request[HELD] = token.name, token.scopes
            demand_ids(request.match_info.values())
            if request.method not in {"GET", "HEAD"}:
                demand_json(request)
            return as_json(await answering(request))

        return gated


def demand_ids(texts: Iterable[str]) -> None:
    """Raise Rejected for what no account and no sign-in is called: no store holds a NUL, and no id is endless."""
    if not all(map(text, texts)):
        raise Rejected("This is no id: ids are at most 512 characters, all of them printable.", reason="id")


def as_json(value: object, status: int = 200) -> web.Response:
    """Return the value as a JSON answer that nobody keeps."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json", headers=HEADERS)


def refused(answer: Answer, error: BaseException) -> web.Response:
    """Return `{"error": {"code", "message"}}`."""
    message = str(error) if isinstance(error, Rejected | Later) else explained(answer.words, error)
    response = as_json({"error": {"code": CODES.get(answer.status, "bad_request"), "message": message}}, answer.status)
    if answer.status == 401:  # noqa: PLR2004 - RFC 9110 wants the scheme named
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def explained(words: str, error: BaseException) -> str:
    """Return the words with what of ours is away, where that is known."""
    if not isinstance(error, Unavailable) or not error.plight:
        return words
    return f"{words.partition(';')[0].removesuffix('.')}: {error.plight}. Try again in a moment."


def unread(answer: Answer, error: BaseException) -> web.Response:
    """Return the same for a read, where nothing was to be held."""
    away = isinstance(error, Unavailable | TimeoutError)
    return refused(msgspec.structs.replace(answer, words=AWAY) if away else answer, error)


def add_claims(api: Api, handoff: Handoff) -> None:
    """Add `POST /v1/attempts/{attempt}/claim` (scope claim)."""

    async def claim(request: web.Request) -> object:
        return await handoff.claim(request.match_info["attempt"], await api.bodies.read(request, Claimed))

    api.add("POST", "/v1/attempts/{attempt}/claim", "claim", claim)


def add_reading(api: Api, accounts: Accounts, attempts: Attempts, claims: Claims, clock: Callable[[], datetime]) -> None:
    """Add `GET /v1/accounts`, `GET /v1/accounts/{account}` and `GET /v1/attempts/{attempt}` (scope read)."""

    async def listing(request: web.Request) -> object:
        asked = paged(request.query)
        return timed(msgspec.to_builtins(await accounts.accounts(after=asked.after, limit=asked.limit, at_risk=asked.at_risk)))

    async def account(request: web.Request) -> object:
        return timed(msgspec.to_builtins(found(await accounts.describe(request.match_info["account"]))))

    async def attempt(request: web.Request) -> object:
        asked = request.match_info["attempt"]
        if progress := await attempts.progress(asked):
            return shown(progress)
        return unconfirmed(found(await claims.claimed_at(asked)), clock())

    api.add("GET", "/v1/accounts", "read", listing)
    api.add("GET", "/v1/accounts/{account}", "read", account)
    api.add("GET", "/v1/attempts/{attempt}", "read", attempt)


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list is asked for."""

    after: Annotated[str, msgspec.Meta(max_length=512)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    at_risk: bool = False


def paged(query: Mapping[str, str]) -> Asked:
    """Return what a query asks for, or raise Rejected in words."""
    asked = queried(query, Asked)
    demand_ids({asked.after} - {""})
    return asked


def unconfirmed(claimed_at: float, now: datetime) -> object:
    """Return the progress of a sign-in of which nothing but the login's claim is known."""
    over = now.timestamp() > claimed_at + WINDOW.total_seconds()  # it began before the claim
    return {
        "state": "expired" if over else "started",
        "steps": told_steps([(CLAIMED, claimed_at)]),
        "finding": f"{CLAIMED}, {GONE if over else 'not confirmed yet'}",
    }


def timed(value: object) -> object:
    """Return builtins with every time in ISO 8601, at whatever depth: `steps` as names and times, and what is named `…_at`."""
    if isinstance(value, dict):
        return {name: _told(name, inner) for name, inner in value.items()}
    return [timed(inner) for inner in value] if isinstance(value, list | tuple) else value


def _told(name: str, value: object) -> object:
    if name == "steps" and isinstance(value, list | tuple):
        return told_steps(value)
    return moment(value) if name.endswith("_at") and isinstance(value, float) else timed(value)


def found(value: T | None) -> T:
    """Return the value, or raise NotFound."""
    if value is None:
        raise NotFound("Nothing is known under this id.", reason="unknown_id")
    return value
