"""The cookie that ties a sign-in to one browser."""

from aiohttp import web

from ingress.errors import Forbidden
from ingress.link.attempt import Attempt, Seals
from ingress.link.words import ANOTHER_BROWSER

MAX_AGE_S = 3600  # the live page is looked at for a while


class Cookie:
    """Writes and reads the sealed attempt; `__Host-` wherever browsers come by https."""

    def __init__(self, seals: Seals, *, secure: bool) -> None:
        self._seals = seals
        self._secure = secure
        self.name = "__Host-ringhook" if secure else "ringhook"  # a loopback without https cannot have the prefix

    def write(self, response: web.Response, attempt: Attempt) -> web.Response:
        """Set the cookie; Lax, because the partner's login page sends the browser back from another site."""
        response.set_cookie(
            self.name,
            self._seals.cookie(attempt),
            max_age=MAX_AGE_S,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def read(self, request: web.Request) -> Attempt:
        """Return the attempt this browser began, or raise Forbidden."""
        value = request.cookies.get(self.name)
        if value is None:
            raise Forbidden(ANOTHER_BROWSER, reason="cookie_missing")
        return self._seals.attempt(value)
