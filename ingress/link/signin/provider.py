"""The issuer, asked: its metadata and keys, kept for a while, and one code for one ID token."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Final

import msgspec
import structlog
from aiohttp import web

from ingress.errors import Forbidden, SignInAway
from ingress.link.signin.discovery import Discovered, discovered, token_request, well_known
from ingress.link.signin.doubts import meaning
from ingress.link.signin.fetch import Answered, Outward, Unanswered, outward
from ingress.link.signin.idtoken import Claims, Expected, Key, UnknownKey, read_keys, verify
from ingress.link.signin.kept import Kept
from ingress.link.words import CODE_USED
from ingress.settings import Oidc
from schemas.errors import UNREADABLE, Misconfigured, Rejected, Unavailable
from schemas.ring.echo import without
from workers.runtime.sampling import Sampler

log = structlog.get_logger()
_REFUSED: Final = "the issuer refuses this client ({error}): compare client_id, client_secret_env and the redirect URI with it"


class TokenAnswer(msgspec.Struct, frozen=True):
    """What the token endpoint says: an ID token, or what it does not like. Other tokens in it are not looked at."""

    id_token: str | None = None
    error: str | None = None


class Provider:
    """One issuer; `running` opens and closes its HTTP client with the application."""

    def __init__(self, settings: Oidc, redirect_uri: str, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._client: Outward | None = None
        self._metadata = Kept(self._fetch_metadata, clock)
        self._keys = Kept(self._fetch_keys, clock)
        self._clock = clock
        self._sampler = Sampler()

    async def running(self, _application: web.Application) -> AsyncIterator[None]:
        """Hold the client open (an aiohttp cleanup context)."""
        async with outward([ip_network(text) for text in self._settings.allow_networks]) as self._client:
            yield

    async def metadata(self) -> Discovered:
        """Return what the issuer says of itself, or raise SignInAway."""
        try:
            return await self._metadata.get()
        except Unavailable as error:
            raise self._away(error) from error

    async def redeem(self, code: str, verifier: str, expected: Expected) -> Claims:
        """Give a code for an ID token, and return what that says. Raises Rejected (the code, the token) or SignInAway."""
        token = await self._id_token(code, verifier)
        try:
            return await self._verified(token, expected)
        except Rejected as error:
            self._doubt(error.reason)
            raise

    async def _verified(self, token: str, expected: Expected) -> Claims:
        try:
            return verify(token, await self._known(renew=False), expected, self._clock())
        except UnknownKey:  # the issuer may have changed its keys since
            return verify(token, await self._known(renew=True), expected, self._clock())

    def _doubt(self, reason: str) -> None:
        """Tell the operator of a token that the issuer itself gave and nobody can believe: so it will be with the next one."""
        if (why := meaning(reason)) and (others := self._sampler.take(reason)) is not None:
            log.warning("signin.provider_failed", why=f"an ID token of the issuer is not believed: {why}", others=others)

    async def _id_token(self, code: str, verifier: str) -> str:
        found = await self.metadata()
        try:
            asked = token_request(found, self._settings, code=code, redirect_uri=self._redirect_uri, verifier=verifier)
            secret = self._settings.client_secret
            carried = (code, verifier, secret.reveal() if secret else "")
            return given(await self._outward.post(found.token_endpoint, asked.form, asked.headers), carried)
        except (Unavailable, Misconfigured) as error:
            raise self._away(error) from error

    async def _known(self, *, renew: bool) -> Sequence[Key]:
        try:
            return await (self._keys.renewed() if renew else self._keys.get())
        except Unavailable as error:
            raise self._away(error) from error

    async def _fetch_metadata(self) -> Discovered:
        try:
            return discovered(await self._outward.get(well_known(self._settings.issuer)), self._settings.issuer)
        except Misconfigured as error:
            raise Unanswered(str(error)) from error

    async def _fetch_keys(self) -> Sequence[Key]:
        found = await self._metadata.get()
        try:
            return read_keys(await self._outward.get(found.jwks_uri))
        except UNREADABLE as error:
            raise Unanswered("the issuer's keys are no JWK set") from error

    def _away(self, error: Exception) -> SignInAway:
        """Return what the user is told, and tell the operator why."""
        if (others := self._sampler.take("provider")) is not None:
            log.warning("signin.provider_failed", why=str(error), others=others)
        return SignInAway()

    @property
    def _outward(self) -> Outward:
        if self._client is None:
            raise Unanswered("the application is not running")
        return self._client


def given(answer: Answered, carried: Collection[str] = ()) -> str:
    """Return the ID token of a token endpoint's answer; its words are told without the secrets that the request carried.

    Raises Forbidden (the code is not good), Misconfigured, Unanswered.
    """
    try:
        said = msgspec.json.decode(answer.body, type=TokenAnswer)
    except UNREADABLE as error:
        raise Unanswered(f"the token endpoint answered {answer.status}, and no JSON that can be read") from error
    if answer.status == 200 and said.id_token:  # noqa: PLR2004
        return said.id_token
    if said.error == "invalid_grant":
        raise Forbidden(CODE_USED, reason="code_refused")
    if said.error:
        raise Misconfigured(_REFUSED.format(error=ascii(without(said.error, carried)[:50])))
    raise Unanswered(f"the token endpoint answered {answer.status} without an ID token")
