"""The pages of the sign-in: small, without scripts, never framed, never kept."""

from importlib.resources import files
from typing import Final

from aiohttp import web
from jinja2 import Environment, PackageLoader

from ingress.errors import Answer, SignInAway
from ingress.link.words import BROKEN, HEADINGS, OTHER_WAY, TITLES
from ingress.route import Handler
from schemas.errors import Rejected

STYLE_PATH: Final = "/ring/account-link/style.css"
OIDC_PATH: Final = "/ring/account-link/oidc"  # where the way to the issuer begins, as often as it has to
_POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
_TEMPLATES: Final = Environment(
    loader=PackageLoader("ingress.link"), autoescape=True, auto_reload=False, trim_blocks=True, lstrip_blocks=True
)
_STYLE: Final = files("ingress.link").joinpath("templates", "style.css").read_bytes()


def page(template: str, *, status: int = 200, **facts: object) -> web.Response:
    """Return a page; every fact is escaped."""
    text = _TEMPLATES.get_template(template).render(style=STYLE_PATH, **facts)
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def redirect(location: str) -> web.Response:
    """Return 303 without a page."""
    return web.Response(status=303, headers={**HEADERS, "Location": location})


def refused(answer: Answer, error: BaseException) -> web.Response:
    """Return the page for a refusal; words of ours only where the error carries some."""
    words = str(error) if isinstance(error, Rejected | SignInAway) else BROKEN
    again = OIDC_PATH if isinstance(error, SignInAway) else None
    heading = HEADINGS.get(error.reason) if isinstance(error, Rejected) else None
    title = heading or TITLES.get(answer.status, TITLES[400])
    return page("message.html", status=answer.status, title=title, words=words, again=again)


def wrong_way(allowed: str) -> Handler:
    """Return what answers every method but these: 405, RFC 9110 section 15.5.6."""

    async def answer(_request: web.Request) -> web.Response:
        response = page("message.html", status=405, title=TITLES[405], words=OTHER_WAY)
        response.headers["Allow"] = allowed
        return response

    return answer


async def harmless(_request: web.Request) -> web.Response:
    """Answer who only looks whether the Account Link URL is there: nothing begins."""
    return web.Response(status=204, headers={**HEADERS, "Allow": "GET, HEAD, OPTIONS"})


async def style(_request: web.Request) -> web.Response:
    """Serve the one style sheet."""
    return web.Response(body=_STYLE, content_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
