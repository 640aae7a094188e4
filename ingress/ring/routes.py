"""Ring's two POST URLs on the public application."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
from aiohttp import web

from ingress.bounds import Bound, Room
from ingress.metrics import IN_FLIGHT
from ingress.notices import Notices
from ingress.proxies import Proxies
from ingress.ring.code import Code, Lane, Sealer
from ingress.ring.expect import expecting
from ingress.ring.probes import options, shown
from ingress.ring.webhook import Webhook
from ingress.route import Handler, guarded
from ingress.settings import Settings
from schemas import topics
from schemas.ring.code import BODY_LIMIT
from workers.bus.contract import Publisher

WEBHOOK: Final = "/ring/webhook"
EXCHANGE: Final = "/ring/token-exchange"


class Door(msgspec.Struct, frozen=True):
    """A URL that Ring posts to: how it is counted, what a browser is told it is, and the largest body it reads."""

    path: str
    route: str
    what: str
    most: int
    handler: Handler


def add_ring(
    application: web.Application,
    settings: Settings,
    publisher: Publisher,
    sealer: Sealer,
    *,
    room: Room,
    notices: Notices,
    clock: Callable[[], datetime],
) -> Mapping[str, Handler]:
    """Add the webhook and code doors; return those POST handlers that the server may call without the router, by path."""
    limits = settings.limits
    keys = {app: key.reveal().encode() for app, key in settings.hmac_keys.items()}
    secrets = {app: secret.reveal().encode() for app, secret in settings.exchange_secrets.items()}
    webhook = Webhook(publisher, keys, _counted("webhook", limits.webhooks), room, notices, clock)
    plain = Lane(_counted("code", limits.strange_codes), None, next(iter(keys)))
    strangers = Code(publisher, sealer, plain, room, notices, clock)
    known = Code(publisher, sealer, Lane(_counted("code_secret", limits.codes), secrets), room, notices, clock)
    guard = partial(guarded, deadline_s=limits.deadline_s, proxies=Proxies(settings.trusted_proxies))
    hot = guard("webhook", webhook)
    for door in (
        Door(WEBHOOK, "webhook", "Webhook URL", topics.BODY_LIMIT, hot),
        Door(EXCHANGE, "code", "Token Exchange URL", BODY_LIMIT, guard("code", strangers)),
        Door(EXCHANGE + "/{secret}", "code_secret", "Token Exchange URL", BODY_LIMIT, guard("code_secret", known)),
    ):
        _add(application, door, notices)
    return {WEBHOOK: hot}


def _add(application: web.Application, door: Door, notices: Notices) -> None:
    """Add a door, with and without a slash at its end, and its harmless answers to everything but POST."""
    show, expect = shown(door.what, door.route, notices), expecting(door.most)
    for path in (door.path, door.path + "/"):
        application.router.add_post(path, door.handler, expect_handler=expect)
        application.router.add_get(path, show)
        application.router.add_options(path, options)


def _counted(route: str, most: int) -> Bound:
    bound = Bound(most)
    IN_FLIGHT.labels(route=route).set_function(lambda: bound.taken)
    return bound
