"""A sample partner: a login page and a service that receives events. It imports nothing of ours, as no partner does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from deploy.demo.partner.login import Login
from deploy.demo.partner.service import Service

__all__ = ["Login", "Service", "application", "serve"]


def application(service: Service | None = None, login: Login | None = None) -> web.Application:
    """Return the partner's app: `/ring` and `/received` for a service, `/login` for a login page."""
    app = web.Application()
    if service is not None:
        app.router.add_post("/ring", service.ring)
        app.router.add_get("/received", service.received)
    if login is not None:
        app.router.add_get("/login", login.page)
        app.router.add_post("/login", login.sign_in)
    return app


@asynccontextmanager
async def serve(app: web.Application, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the app while the context lasts; gives its address, on a free port unless one is named."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
