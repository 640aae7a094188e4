"""The partner's login page: its user signs in here, then ringhook is told who it was (the hand-off of design.md)."""

import hmac
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import aiohttp
from aiohttp import web

CLAIM_DEADLINE_S: Final = 5.0
_ATTEMPT: Final = re.compile(r"[A-Za-z0-9_.~-]{1,512}")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - Example Home</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:22rem;margin:4rem auto;padding:0 1rem}}
label{{display:block;margin:1rem 0}}input{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}}
button{{font:inherit;padding:.6rem 1rem}}.told{{color:#a00}}</style>
<h1>Example Home</h1>
<p>Sign in to connect your Ring account.</p>
<p class="told" role="alert">{told}</p>
<form method="post" action="/login">
<input type="hidden" name="attempt" value="{attempt}">
<label>User <input name="user" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button>
</form>
</html>
"""


@dataclass
class Login:
    """`GET /login?attempt=…` and its form. `api` is ringhook's internal address, `token` one with the scope `claim`."""

    api: str
    token: str = field(repr=False)
    users: Mapping[str, str] = field(repr=False)  # user → password

    async def page(self, request: web.Request) -> web.Response:
        """Show the form."""
        attempt = request.query.get("attempt", "")
        if not _ATTEMPT.fullmatch(attempt):
            return _page("", "This page is opened from the Ring app: tap “Sign In” there.", status=400)
        return _page(attempt, "")

    async def sign_in(self, request: web.Request) -> web.Response:
        """Check user and password, claim the attempt, and send the browser where ringhook says."""
        form = await request.post()
        attempt, user, password = (str(form.get(name, "")) for name in ("attempt", "user", "password"))
        if not _ATTEMPT.fullmatch(attempt):
            return _page("", "This page is opened from the Ring app: tap “Sign In” there.", status=400)
        if not self._knows(user, password):
            return _page(attempt, "User or password is wrong.", status=401)
        finish = await self._claimed(attempt, user)
        if finish is None:
            return _page(attempt, "Connecting did not work. Please start again in the Ring app.", status=502)
        return web.Response(status=303, headers={**_HEADERS, "Location": finish})

    def _knows(self, user: str, password: str) -> bool:
        expected = self.users.get(user)
        given = password.encode(errors="surrogateescape")
        return expected is not None and hmac.compare_digest(expected.encode(), given)

    async def _claimed(self, attempt: str, user: str) -> str | None:
        """Tell ringhook who signed in; return where the browser goes next, None where it would not hear of it."""
        url = f"{self.api}/v1/attempts/{quote(attempt, safe='')}/claim"
        claim = {"partner_user": f"u-{user}", "account_identifier": masked(user)}
        timeout = aiohttp.ClientTimeout(total=CLAIM_DEADLINE_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.post(url, json=claim, headers={"Authorization": f"Bearer {self.token}"}) as answer,
            ):
                return str((await answer.json())["finish_url"]) if answer.ok else None
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
            return None


def masked(user: str) -> str:
    """Return the user's address as Ring may show it: never whole."""
    return f"{user[:1]}***{user[-1:]}@example.com"


def _page(attempt: str, told: str, *, status: int = 200) -> web.Response:
    text = _PAGE.format(attempt=html.escape(attempt), told=html.escape(told))
    return web.Response(text=text, content_type="text/html", status=status, headers=_HEADERS)
