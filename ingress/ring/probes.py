"""What a browser, the portal or a monitor gets where Ring posts: a harmless word, so that nobody takes the URL for broken."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ingress.notices import Notices, described
from ingress.route import Handler

ALLOW: Final[Mapping[str, str]] = {"Allow": "POST, GET, HEAD, OPTIONS"}


def shown(what: str, route: str, notices: Notices) -> Handler:
    """Return a handler for GET and HEAD that says what this URL is, and notes that somebody looked."""

    async def show(request: web.Request) -> web.Response:
        notices.sample("probe", lambda: described(request) | {"route": route})
        return web.Response(text=f"This is ringhook's {what}. Ring posts here; there is nothing to see.\n")

    return show


async def options(_request: web.Request) -> web.Response:
    """Answer OPTIONS: 204 and what is allowed; no origin is, since no browser posts here."""
    return web.Response(status=204, headers=ALLOW)
