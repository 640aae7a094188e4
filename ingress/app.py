"""The public application, put together from its parts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from aiohttp import web

from ingress.bounds import Room
from ingress.home import home
from ingress.link.progress import Attempts
from ingress.link.routes import add_link
from ingress.metrics import BUFFERED
from ingress.notices import Notices
from ingress.ring.code import Sealer
from ingress.ring.routes import add_ring
from ingress.route import Handler, guarded
from ingress.settings import Settings
from workers.bus.contract import Publisher
from workers.runtime.clock import utc_now
from workers.runtime.sealing import Keyring

HOT: Final = web.AppKey("HOT", Mapping[str, Handler])  # POST paths that need no router


def public_app(
    settings: Settings,
    publisher: Publisher,
    sealer: Sealer,
    notices: Notices,
    *,
    cookies: Keyring,
    attempts: Attempts,
    clock: Callable[[], datetime] = utc_now,
) -> web.Application:
    """Return what Ring and browsers reach; `ingress.server.Server` serves it."""
    application, room = web.Application(), Room(settings.limits.buffered_bytes)
    BUFFERED.set_function(lambda: room.taken)
    application[HOT] = add_ring(application, settings, publisher, sealer, room=room, notices=notices, clock=clock)
    add_link(
        application,
        settings,
        publisher,
        sealer,
        cookies=cookies,
        attempts=attempts,
        room=room,
        notices=notices,
        clock=clock,
    )
    application.router.add_get("/", guarded("home", home(settings), deadline_s=settings.limits.deadline_s))
    return application
