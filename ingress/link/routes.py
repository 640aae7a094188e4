"""The pages of the sign-in on the public application."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from aiohttp import web

from ingress.bounds import Bound, Room
from ingress.link.attempt import Attempt, Seals
from ingress.link.confirm import PROGRESS, Confirm
from ingress.link.confirmation import CONFIRM
from ingress.link.cookie import Cookie
from ingress.link.pages import OIDC_PATH, STYLE_PATH, harmless, refused, style, wrong_way
from ingress.link.progress import Attempts, Follow
from ingress.link.signin import dev
from ingress.link.signin.finish import Finish
from ingress.link.signin.handoff import FINISH, sign_in_url
from ingress.link.start import Start
from ingress.metrics import IN_FLIGHT
from ingress.notices import Notices
from ingress.proxies import Proxies
from ingress.ring.code import Sealer
from ingress.route import Handler, guarded
from ingress.settings import Dev, Oidc, Settings
from workers.bus.contract import Publisher
from workers.runtime.sealing import Keyring

START: Final = "/ring/account-link"


def add_link(
    application: web.Application,
    settings: Settings,
    publisher: Publisher,
    sealer: Sealer,
    *,
    cookies: Keyring,
    attempts: Attempts,
    room: Room,
    notices: Notices,
    clock: Callable[[], datetime],
) -> None:
    """Add the Account Link URL and the pages behind it."""
    limits = settings.limits
    seals = Seals(cookies, settings.namespace)
    cookie = Cookie(seals, secure=settings.secure)
    bound = Bound(limits.pages)
    IN_FLIGHT.labels(route="pages").set_function(lambda: bound.taken)

    guard = partial(guarded, deadline_s=limits.deadline_s, render=refused, proxies=Proxies(settings.trusted_proxies))

    def add(method: str, path: str, name: str, handler: Handler) -> None:
        bounded = within(bound, handler) if method == "GET" else handler  # a dripping form must not keep pages from others
        application.router.add_route(method, path, guard(name, bounded))

    start = Start(cookie, _sign_in_url(settings), notices, clock)
    for path in (START, START + "/"):
        add("GET", path, "link_start", start)
        for method in ("HEAD", "OPTIONS"):  # a portal or a monitor looks
            add(method, path, "link_look", harmless)
    if isinstance(settings.signin, Dev):
        passcode = dev.Passcode(settings.signin, seals, cookie, room, settings.public_url, clock)
        add("GET", dev.PATH, "link_dev", passcode.ask)
        add("POST", dev.PATH, "link_dev", passcode.check)
    else:
        add("GET", FINISH, "link_finish", Finish(seals, cookie, clock))
    if isinstance(settings.signin, Oidc):
        from ingress.link.signin import oidc  # noqa: PLC0415 - what checks ID tokens takes 11 MB, and no other sign-in has any

        openid = oidc.connect(
            application, settings.signin, public_url=settings.public_url, seals=seals, cookie=cookie, clock=clock
        )
        slow = Bound(limits.pages)  # a slow issuer must not keep other pages from anybody
        IN_FLIGHT.labels(route="signin").set_function(lambda: slow.taken)
        for path, name, handler in ((OIDC_PATH, "link_oidc", openid.ask), (oidc.CALLBACK, "link_callback", openid.take)):
            application.router.add_get(path, guard(name, within(slow, handler), deadline_s=oidc.DEADLINE_S))
    add("POST", CONFIRM, "link_confirm", Confirm(publisher, sealer, seals, cookie, room, settings.public_url, clock))
    add("GET", PROGRESS, "link_progress", Follow(cookie, attempts, clock))
    add("GET", STYLE_PATH, "link_style", style)
    for path, allowed in _methods(application).items():
        application.router.add_route("*", path, guard("link_wrong_way", wrong_way(allowed)))


def _methods(application: web.Application) -> Mapping[str, str]:
    """Return the methods of each link page by its path."""
    found: dict[str, set[str]] = {}
    for route in application.router.routes():
        path = route.resource.canonical if route.resource else ""
        if path.startswith(START):
            found.setdefault(path, set()).add(route.method)
    return {path: ", ".join(sorted(methods)) for path, methods in found.items()}


def within(bound: Bound, handler: Handler) -> Handler:
    """Return the handler with a bound on how many run at a time."""

    async def bounded(request: web.Request) -> web.StreamResponse:
        with bound:
            return await handler(request)

    return bounded


def _sign_in_url(settings: Settings) -> Callable[[Attempt], str]:
    if isinstance(settings.signin, Dev):
        return lambda _attempt: dev.PATH
    if isinstance(settings.signin, Oidc):
        return lambda _attempt: OIDC_PATH
    return sign_in_url(settings.signin.login_url)
