"""Ring's two POST URLs on the public application."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final

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


def add_ring(
    application: web.Application,
    settings: Settings,
    publisher: Publisher,
    sealer: Sealer,
    *,
    notices: Notices,
    clock: Callable[[], datetime],
) -> Mapping[str, Handler]:
    """Add the webhook and code doors; return those POST handlers that the server may call without the router, by path."""
    limits = settings.limits
    room = Room(limits.buffered_bytes)
    keys = {app: key.reveal().encode() for app, key in settings.hmac_keys.items()}
    webhook = Webhook(publisher, keys, _counted("webhook", limits.webhooks), room, notices, clock)

    def code(lane: Lane) -> Code:
        return Code(publisher, sealer, lane, room, notices, clock)

    secrets = {app: secret.reveal().encode() for app, secret in settings.exchange_secrets.items()}
    strangers = code(Lane(_counted("code", limits.strange_codes), None))
    known = code(Lane(_counted("code_secret", limits.codes), secrets))
    guard = partial(guarded, deadline_s=limits.deadline_s, proxies=Proxies(settings.trusted_proxies))
    hot = guard("webhook", webhook)
    _add(application, WEBHOOK, hot, "Webhook URL", topics.BODY_LIMIT)
    doors = {EXCHANGE: guard("code", strangers)}
    doors[EXCHANGE + "/{secret}"] = guard("code_secret", known)
    for path, door in doors.items():
        _add(application, path, door, "Token Exchange URL", BODY_LIMIT)
    return {WEBHOOK: hot}


def _add(application: web.Application, path: str, handler: Handler, what: str, most: int) -> None:
    """Add a URL that is posted to, with and without a slash at its end, and its harmless answers to everything else."""
    for spelled in (path, path + "/"):
        application.router.add_post(spelled, handler, expect_handler=expecting(most))
        application.router.add_get(spelled, shown(what))
        application.router.add_options(spelled, options)


def _counted(route: str, most: int) -> Bound:
    bound = Bound(most)
    IN_FLIGHT.labels(route=route).set_function(lambda: bound.taken)
    return bound
