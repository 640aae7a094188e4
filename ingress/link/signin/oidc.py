"""Sign-in at any OIDC issuer: to its page, and back with a code. It says who signed in; the link still takes the form's POST.

State, nonce and PKCE verifier are made of the secret in the browser's cookie, which is new for each try.
Source: openid.net/specs/openid-connect-core-1_0.html, 3.1; RFC 7636; RFC 9207.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from multidict import MultiMapping

from ingress.errors import Forbidden, SignInAway
from ingress.link.attempt import TICKET_LIFE, Attempt, Seals, Signed
from ingress.link.confirm import PROGRESS
from ingress.link.cookie import Cookie
from ingress.link.pages import redirect
from ingress.link.signin.discovery import authorization_url
from ingress.link.signin.handoff import FINISH
from ingress.link.signin.identity import identifier, partner_user
from ingress.link.signin.idtoken import Claims, Expected
from ingress.link.signin.provider import Provider
from ingress.link.start import demand_fresh
from ingress.link.words import ANOTHER_BROWSER, NOT_BELIEVED, NOT_SIGNED_IN
from ingress.metrics import SIGNIN_FAILURES
from ingress.settings import Oidc
from schemas.errors import Rejected

CALLBACK: Final = "/ring/account-link/callback"
DEADLINE_S: Final = 14.0  # three requests to the issuer at worst; Ring calls none of these pages
_LONGEST_CODE: Final = 4096


class Answer(msgspec.Struct, frozen=True):
    """What the issuer sends by the browser."""

    state: str
    code: str
    error: str
    issuer: str


@dataclass(frozen=True, slots=True)
class OpenId:
    """Sends browsers to the issuer, and takes them back."""

    settings: Oidc
    provider: Provider
    seals: Seals
    cookie: Cookie
    redirect_uri: str
    clock: Callable[[], datetime]

    async def ask(self, request: web.Request) -> web.Response:
        """Send a browser that began an attempt to sign in, as if for the first time. Raises Forbidden, Stale, SignInAway."""
        with _counted():
            return await self._ask(request)

    async def _ask(self, request: web.Request) -> web.Response:
        attempt, now = self.cookie.read(request), self.clock()
        if attempt.partner_user is not None:
            return redirect(PROGRESS)
        demand_fresh(attempt.time, now)
        asking = renewed(attempt, asked=now.timestamp())
        url = authorization_url(
            await self.provider.metadata(),
            self.settings,
            redirect_uri=self.redirect_uri,
            state=derived(asking, "state"),
            nonce=derived(asking, "nonce"),
            verifier=derived(asking, "verifier"),
        )
        return self.cookie.write(redirect(url), asking)

    async def take(self, request: web.Request) -> web.Response:
        """Go on to the confirmation with whoever the issuer names. Raises Forbidden, Stale, SignInAway: nothing happened then."""
        with _counted():
            return await self._take(request)

    async def _take(self, request: web.Request) -> web.Response:
        attempt, now = self.cookie.read(request), self.clock()
        answer = read(request.query)
        asked = demand_asked(attempt, answer)
        demand_fresh(attempt.time, now)
        await self._demand_success(answer)
        expected = Expected(
            issuer=self.settings.issuer, client_id=self.settings.client_id, nonce=derived(attempt, "nonce"), asked=asked
        )
        try:
            claims = await self.provider.redeem(answer.code, derived(attempt, "verifier"), expected)
        except Forbidden:
            raise
        except Rejected as error:
            raise Forbidden(NOT_BELIEVED, reason=error.reason) from error
        ticket = self.seals.ticket(signed(claims, attempt, self.clock()))
        return self.cookie.write(redirect(f"{FINISH}?{urlencode({'ticket': ticket})}"), renewed(attempt, asked=None))

    async def _demand_success(self, answer: Answer) -> None:
        """Raise Forbidden where the answer is not this issuer's, or tells that nobody signed in."""
        named = (await self.provider.metadata()).authorization_response_iss_parameter_supported
        if answer.issuer != self.settings.issuer and (named or answer.issuer):
            raise Forbidden(NOT_BELIEVED, reason="answer_issuer")
        if answer.error or not 0 < len(answer.code) <= _LONGEST_CODE:
            raise Forbidden(NOT_SIGNED_IN, reason=_reason(answer.error))


@contextmanager
def _counted() -> Iterator[None]:
    """Count what keeps somebody from signing in."""
    try:
        yield
    except Rejected as error:
        SIGNIN_FAILURES.labels(why=error.reason).inc()
        raise
    except SignInAway:
        SIGNIN_FAILURES.labels(why="provider").inc()
        raise


def connect(
    application: web.Application, settings: Oidc, *, public_url: str, seals: Seals, cookie: Cookie, clock: Callable[[], datetime]
) -> OpenId:
    """Return the two pages of this sign-in; its client lives as long as the application runs."""
    redirect_uri = public_url.rstrip("/") + CALLBACK
    provider = Provider(settings, redirect_uri, clock)
    application.cleanup_ctx.append(provider.running)
    return OpenId(settings, provider, seals, cookie, redirect_uri, clock)


def read(query: MultiMapping[str]) -> Answer:
    """Return what a callback's query says; a name that stands there twice is not what an issuer writes."""

    def one(name: str) -> str:
        values = query.getall(name, [])
        if len(values) > 1:
            raise Forbidden(ANOTHER_BROWSER, reason="answer_ambiguous")
        return values[0] if values else ""

    return Answer(state=one("state"), code=one("code"), error=one("error"), issuer=one("iss"))


def demand_asked(attempt: Attempt, answer: Answer) -> datetime:
    """Return when this browser was sent to sign in, or raise Forbidden: it was not, or for another answer than this."""
    if answer.error and not answer.state:  # some leave it out of what is none of our doing; nothing comes of it either way
        raise Forbidden(NOT_SIGNED_IN, reason=_reason(answer.error))
    given, wanted = answer.state.encode(errors="surrogatepass"), derived(attempt, "state").encode()
    if attempt.asked is None or not hmac.compare_digest(given, wanted):
        raise Forbidden(ANOTHER_BROWSER, reason="state")
    return datetime.fromtimestamp(attempt.asked, UTC)


def signed(claims: Claims, attempt: Attempt, now: datetime) -> Signed:
    """Return who signed in, as the confirmation page is to show and the linker to know them."""
    shown = identifier(claims)
    return Signed(
        attempt=attempt.id,
        partner_user=partner_user(claims),
        account_identifier=shown,
        until=now + TICKET_LIFE,
        known_as=shown or claims.sub,
    )


def renewed(attempt: Attempt, *, asked: float | None) -> Attempt:
    """Return the attempt with a secret of its own for this try: no earlier answer or form fits it."""
    return msgspec.structs.replace(attempt, secret=secrets.token_urlsafe(32), asked=asked)


def derived(attempt: Attempt, purpose: str) -> str:
    """Return 43 characters that only the cookie's holder and we can make, another for each purpose and try."""
    return urlsafe_b64encode(hmac.digest(attempt.secret.encode(), purpose.encode(), "sha256")).rstrip(b"=").decode()


def _reason(error: str) -> str:
    """Return one word of a closed set for what the issuer calls an error."""
    return {"": "answer_code", "access_denied": "answer_denied"}.get(error, "answer_error")
