"""Baseline: an aiohttp handler that only checks the HMAC. Usage: bare_ingress.py PORT KEY."""

import asyncio
import hashlib
import hmac
import sys

import uvloop
from aiohttp import web


async def main(port: int, key: bytes) -> None:
    async def webhook(request: web.Request) -> web.Response:
        body = await request.read()
        given = request.headers.get("X-Signature", "")
        expected = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        return web.Response(status=200 if hmac.compare_digest(given.encode(), expected.encode()) else 401)

    application = web.Application()
    application.router.add_post("/ring/webhook", webhook)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)  # noqa: T201 - who started it waits for this word
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1]), sys.argv[2].encode()))
