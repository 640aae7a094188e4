"""Baseline: an aiohttp client that posts as fast as it can. Usage: bare_deliver.py URL COUNT IN_FLIGHT."""

import asyncio
import sys
import time

import aiohttp
import uvloop


async def main(url: str, count: int, in_flight: int) -> None:
    body = (
        b'{"specversion":"1.0","id":"x","type":"com.ring.motion_detected","source":"ring","data":{"pad":"' + b"x" * 700 + b'"}}'
    )
    left = iter(range(count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as client:

        async def one() -> None:
            for number in left:
                async with client.post(url, data=body, headers={"webhook-id": str(number)}) as answer:
                    await answer.read()

        started, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one() for _ in range(in_flight)))
    print([count / (time.perf_counter() - started), (time.process_time() - used) / count], flush=True)  # noqa: T201 - the result


uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
