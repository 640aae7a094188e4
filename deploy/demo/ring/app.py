"""The aiohttp application: reads a request, lets an endpoint answer, spoils the answer where a fault says so, writes it down."""

import asyncio
import functools
from collections.abc import Callable

import orjson
from aiohttp import web

from deploy.demo.ring import api, oauth
from deploy.demo.ring.books import Answer, Asked, Books
from deploy.demo.ring.faults import Fault
from deploy.demo.ring.ledger import Call
from deploy.demo.ring.state import Refusal

Endpoint = Callable[[Books, Asked, float], Answer]

TOKEN = "/oauth/token"  # noqa: S105  # a path
INTEGRATION = "/v1/accounts/me/app-integrations"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", TOKEN): oauth.token,
    ("GET", "/v1/users/me"): api.me,
    ("GET", "/v1/devices"): api.devices,
    ("POST", INTEGRATION): api.claim,
    ("PATCH", INTEGRATION): api.complete,
}
LIMITED = Answer(
    api.refused(Refusal(429, "Too Many Requests", "The limit counts all endpoints.")).body, 429, (("Retry-After", "1"),)
)


def application(books: Books) -> web.Application:
    """Return Ring's OAuth and API on one base URL."""
    app = web.Application()
    for (method, path), endpoint in ENDPOINTS.items():
        app.router.add_route(method, path, functools.partial(handle, books, endpoint))
    return app


async def handle(books: Books, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Answer one request; a delay or a cut comes after the deed, so that the partner cannot know what became of it."""
    asked = await _read(request)
    fault = books.faults.take(asked.endpoint)
    answer = answered(books, endpoint, asked, fault, books.clock())
    await asyncio.sleep(fault.delay)
    if fault.drop and request.transport is not None:
        request.transport.abort()
    return web.Response(
        status=answer.status, body=orjson.dumps(answer.body), headers=dict(answer.headers), content_type="application/json"
    )


def answered(books: Books, endpoint: Endpoint, asked: Asked, fault: Fault, now: float) -> Answer:
    """Return what the endpoint says, within the limit of requests, and keep it in the ledger."""
    left = books.budget.spend(now)
    answer = LIMITED if left < 0 else _decided(books, endpoint, asked, fault, now)
    books.ledger.calls.append(_call(books, asked, None if fault.drop else answer.status, _title(answer), now))
    limits = (("X-RateLimit-Limit", str(books.budget.rate)), ("X-RateLimit-Remaining", str(max(left, 0))))
    return Answer(answer.body, answer.status, (*answer.headers, *limits))


def _decided(books: Books, endpoint: Endpoint, asked: Asked, fault: Fault, now: float) -> Answer:
    refused = oauth.refused if asked.path == TOKEN else api.refused
    try:
        if fault.status is not None:
            spoiled = refused(Refusal(fault.status, "Fault", "Ring has trouble of its own."))
            return Answer(spoiled.body, spoiled.status, fault.headers)
        return endpoint(books, asked, now)
    except Refusal as refusal:
        return refused(refusal)


async def _read(request: web.Request) -> Asked:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return Asked(
        method=request.method,
        path=request.path,
        body=await request.read(),
        media_type=request.content_type,
        bearer=token if kind.lower() == "bearer" else "",
    )


def _call(books: Books, asked: Asked, status: int | None, title: str | None, now: float) -> Call:
    if asked.path == TOKEN:
        form = oauth.fields(asked)
        secret = form.get("code") or form.get("refresh_token")
        return Call(
            now, asked.method, asked.path, status, None, form.get("grant_type"), secret, None, form.get("client_id"), title
        )
    return Call(now, asked.method, asked.path, status, _whose(books, asked.bearer), nonce=_nonce(asked.body), title=title)


def _whose(books: Books, bearer: str) -> str | None:
    """Return whose token this is or was."""
    return next((grant.account for grant in books.world.grants if bearer in grant.access), None)


def _nonce(body: bytes) -> str | None:
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None
    return given.get("nonce") if isinstance(given, dict) else None


def _title(answer: Answer) -> str | None:
    errors = answer.body.get("errors")
    return errors[0]["title"] if errors else answer.body.get("error")
