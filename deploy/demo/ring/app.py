"""The aiohttp application: reads a request, lets an endpoint answer, spoils the answer where a fault says so, writes it down."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import replace

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
    await books.awake.wait()
    fault = books.faults.take(*_names(asked))
    answer = answered(books, endpoint, asked, fault, books.now())
    await asyncio.sleep(fault.delay)
    await books.awake.wait()
    if (fault.drop or fault.unheard) and request.transport is not None:
        request.transport.abort()
    if answer.raw is not None:
        return web.Response(status=answer.status, body=answer.raw, headers=dict(answer.headers), content_type="text/html")
    body = orjson.dumps(answer.body)
    return web.Response(status=answer.status, body=body, headers=dict(answer.headers), content_type="application/json")


def answered(books: Books, endpoint: Endpoint, asked: Asked, fault: Fault, now: float) -> Answer:
    """Return what the endpoint says, within the limit of requests, and keep it in the ledger."""
    call = _call(books, asked, now)
    left = books.budget.spend(call.client or "", now)
    answer = LIMITED if left < 0 else Answer({}, 0) if fault.unheard else _decided(books, endpoint, asked, fault, now)
    unseen = fault.drop or fault.unheard
    books.ledger.calls.append(replace(call, status=None if unseen else answer.status, title=_title(answer)))
    limits = (("X-RateLimit-Limit", str(books.budget.rate)), ("X-RateLimit-Remaining", str(max(left, 0))))
    return replace(answer, headers=(*answer.headers, *limits))


def _decided(books: Books, endpoint: Endpoint, asked: Asked, fault: Fault, now: float) -> Answer:
    spoiled = fault.refusal()
    if spoiled is None:
        return _own(books, endpoint, asked, now)
    if fault.handled:
        _own(books, endpoint, asked, now)
    return replace(_refused(books, asked, spoiled), headers=fault.headers, raw=fault.raw)


def _own(books: Books, endpoint: Endpoint, asked: Asked, now: float) -> Answer:
    """Handle the call, and return Ring's own answer to it."""
    try:
        return endpoint(books, asked, now)
    except Refusal as refusal:
        return _refused(books, asked, refusal)


def _refused(books: Books, asked: Asked, refusal: Refusal) -> Answer:
    return oauth.refused(refusal) if asked.path == TOKEN else api.refused(refusal, books.world.errors)


async def _read(request: web.Request) -> Asked:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return Asked(
        method=request.method,
        path=request.path,
        body=await request.read(),
        media_type=request.content_type,
        bearer=token if kind.lower() == "bearer" else "",
    )


def _names(asked: Asked) -> tuple[str, ...]:
    """Return what faults may call this endpoint, the narrowest first."""
    if asked.path != TOKEN:
        return (asked.endpoint,)
    return f"{asked.endpoint} {oauth.fields(asked).get('grant_type')}", asked.endpoint


def _call(books: Books, asked: Asked, now: float) -> Call:
    """Return what the ledger keeps of a request, whatever its answer will be."""
    if asked.path == TOKEN:
        form = oauth.fields(asked)
        secret = form.get("code") or form.get("refresh_token")
        owner = _owner(books, form)
        return Call(now, asked.method, asked.path, None, owner, form.get("grant_type"), secret, client=form.get("client_id"))
    grant = books.world.family(asked.bearer)
    client = (grant.client_id or books.world.client.client_id) if grant else None
    account = grant.account if grant else None
    return Call(now, asked.method, asked.path, None, account, nonce=_nonce(asked.body), client=client, token=asked.bearer)


def _owner(books: Books, form: dict[str, str]) -> str | None:
    """Return whose code or refresh token this is or was."""
    known = books.world.codes.get(form.get("code", "")) or books.world.family(form.get("refresh_token", ""))
    return known.account if known else None


def _nonce(body: bytes) -> str | None:
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None
    return given.get("nonce") if isinstance(given, dict) else None


def _title(answer: Answer) -> str | None:
    errors = answer.body.get("errors")
    return errors[0]["title"] if errors else answer.body.get("error")
