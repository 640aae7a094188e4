"""A fast HTTP service that counts what it gets. Usage: sink.py PORT; GET / tells, POST / counts, DELETE / forgets."""

import asyncio
import sys
import time
from datetime import datetime

import orjson
import uvloop
from aiohttp import web


async def main(port: int) -> None:
    seen: dict[str, int] = {}
    late: list[float] = []

    async def post(request: web.Request) -> web.Response:
        body = await request.read()
        name = request.headers.get("webhook-id", "")
        seen[name] = seen.get(name, 0) + 1
        if b'"received_at"' in body:
            received = datetime.fromisoformat(orjson.loads(body)["data"]["received_at"])
            late.append(time.time() - received.timestamp())
        return web.Response(status=204)

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response({"ids": len(seen), "requests": sum(seen.values()), "late": late[-20_000:]})

    async def forget(_request: web.Request) -> web.Response:
        seen.clear()
        late.clear()
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/", post)
    application.router.add_get("/", tell)
    application.router.add_delete("/", forget)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)  # noqa: T201 - who started it waits for this word
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
