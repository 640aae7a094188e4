"""What every role answers on its internal port: does it live, may it get traffic, what do its metrics say."""

from collections.abc import Callable, Mapping
from typing import Final

import orjson
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Probe = Callable[[], str | None]  # None: ready; else the reason why not, in plain words
METRICS_TYPE: Final = {"Content-Type": CONTENT_TYPE_LATEST}


def add_probes(application: web.Application, probes: Mapping[str, Probe], *, metrics: bool = True) -> None:
    """Add `/healthz` (depends on nothing), `/readyz` (503 with every reason) and `/metrics` to the internal application."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        reasons = not_ready(probes)
        body = {"ready": not reasons, "reasons": reasons}
        return web.Response(body=orjson.dumps(body), status=503 if reasons else 200, content_type="application/json")

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers=METRICS_TYPE)

    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    if metrics:
        application.router.add_get("/metrics", show_metrics)


def not_ready(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Return the reason of every probe that is not ready."""
    return {name: reason for name, probe in probes.items() if (reason := probe()) is not None}
