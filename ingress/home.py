"""The App Homepage URL: the partner's own page, or a few words where there is none."""

from aiohttp import web

from ingress.link.pages import page
from ingress.link.words import HOME
from ingress.route import Handler
from ingress.settings import Settings


def home(settings: Settings) -> Handler:
    """Return the handler of `GET /`: a redirect to `homepage_url` where it is set."""

    async def show(_request: web.Request) -> web.Response:
        if settings.homepage_url:
            return web.Response(status=303, headers={"Location": settings.homepage_url})
        return page("message.html", title="Ring connection", words=HOME)

    return show
