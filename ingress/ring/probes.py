"""What a browser, the portal or a monitor gets where Ring posts: a harmless word, so that nobody takes the URL for broken."""

from aiohttp import web

from ingress.route import Handler

ALLOW = {"Allow": "POST, GET, HEAD, OPTIONS"}


def shown(what: str) -> Handler:
    """Return a handler for GET and HEAD that says what this URL is."""

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=f"This is ringhook's {what}. Ring posts here; there is nothing to see.\n")

    return show


async def options(_request: web.Request) -> web.Response:
    """Answer OPTIONS: 204 and what is allowed; no origin is, since no browser posts here."""
    return web.Response(status=204, headers=ALLOW)
