"""The App Homepage URL: the partner's own page, or a few words where there is none."""

from aiohttp import web

from ingress.route import Handler
from ingress.settings import Settings

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ring connection</title>
<p>This service connects Ring to our app. To start, open the Ring app, go to the Ring Appstore, and choose our app there.</p>
</html>
"""


def home(settings: Settings) -> Handler:
    """Return the handler of `GET /`: a redirect to `homepage_url` where it is set."""

    async def show(_request: web.Request) -> web.Response:
        if settings.homepage_url:
            return web.Response(status=303, headers={"Location": settings.homepage_url})
        return web.Response(text=PAGE, content_type="text/html")

    return show
