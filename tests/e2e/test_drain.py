"""The public door of a process that was told to end: it serves on for a while, and says so to a load balancer first."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from deploy.demo.installation import Role
from schemas.ring.signature import sign
from tests.chaos.generator import body, signature
from tests.chaos.ledger import Ledger, doubled
from tests.chaos.world import Sink, installation, recorded, until

BODY = b'{"meta":{"request_id":"r1","account_id":"a"},"data":{"type":"motion_detected"}}'


@pytest.fixture
async def up(tmp_path: Path, drain_s: str) -> AsyncIterator[tuple[Role, str, dict[str, str]]]:
    """A process that serves, the URL to which webhooks go, and the headers of one."""
    sink = Sink()
    sink.url = "http://127.0.0.1:9/"
    made = installation(tmp_path, sink, RINGHOOK_INGRESS_DRAIN_S=drain_s)
    async with made.running("up"):
        signature = sign(made.environment["RINGHOOK_RING_HMAC_KEY"].encode(), BODY)
        yield made.roles["up"], f"{made.public}/ring/webhook", {"X-Signature": signature}


@pytest.mark.parametrize("drain_s", ["3"])
async def test_after_sigterm_readiness_says_no_while_webhooks_are_still_taken(up: tuple[Role, str, dict[str, str]]) -> None:
    role, url, headers = up
    async with aiohttp.ClientSession() as client:
        os.kill(role.process.pid or 0, signal.SIGTERM)
        async with asyncio.timeout(20):
            while (answer := await client.get(f"{role.internal}/readyz")).ok:
                answer.release()
        assert (answer.status, "told to end" in await answer.text()) == (503, True)
        async with client.post(url, data=BODY, headers=headers) as taken:
            assert (taken.status, taken.headers.get("Connection")) == (200, "close")
    assert await ended(role, within=30)


@pytest.mark.parametrize("drain_s", ["300"])
async def test_ctrl_c_does_not_wait(up: tuple[Role, str, dict[str, str]]) -> None:
    role, *_ = up
    os.kill(role.process.pid or 0, signal.SIGTERM)
    await asyncio.sleep(0.2)
    assert role.process.pid is not None
    os.kill(role.process.pid, signal.SIGINT)
    assert await ended(role, within=30)


@pytest.mark.timeout(240)
async def test_under_load_a_stop_cuts_nobody_and_all_that_was_acknowledged_is_recorded(tmp_path: Path) -> None:
    ledger, cut = Ledger(), list[str]()
    async with Sink().open() as sink:
        made = installation(tmp_path, sink, RINGHOOK_INGRESS_DRAIN_S="1")
        async with made.running("up"):
            role = made.roles["up"]
            for turn in range(3):
                async with asyncio.timeout(60), asyncio.TaskGroup() as posters:
                    for number in range(16):
                        posters.create_task(posted(f"{made.public}/ring/webhook", f"{turn}-{number}", ledger, cut))
                    await asyncio.sleep(0.5)
                    os.kill(role.process.pid or 0, signal.SIGTERM)
                assert await ended(role, within=30)
                await role.start()
            assert await until(lambda: not ledger.lost(sink.ids), 60)
        events = await recorded(made)
    assert len(ledger.acknowledged) > 100
    assert (cut, ledger.lost(events), doubled(events), ledger.disorder(events)) == ([], set(), {}, [])


async def posted(url: str, account: str, ledger: Ledger, cut: list[str]) -> None:
    """Post one event after the other until the door is shut; what gets no answer at an open one is cut."""
    async with aiohttp.ClientSession() as client:
        for place in count(1):
            name = f"{account}-{place}"
            raw = body(name, account, "device", time.time())
            ledger.sent[name] = account, place
            try:
                async with client.post(url, data=raw, headers={"X-Signature": signature(raw)}) as answer:
                    assert answer.status == 200
            except aiohttp.ClientConnectorError:
                return
            except aiohttp.ClientError:
                cut.append(name)
                return
            ledger.acknowledged[name] = account, place


async def ended(role: Role, *, within: float) -> bool:
    """Say whether it ended by itself, and well: its last line tells of a server that stopped."""
    async with asyncio.timeout(within):
        while role.process.pid is not None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    return "server.stopped" in role.log()
