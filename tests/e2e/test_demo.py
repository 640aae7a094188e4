"""The demo in trouble: a sentence and the end of ringhook's log, no traceback; and what it shows while it is left running."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.demo.partner import Service
from deploy.demo.walk import DemoFailed
from deploy.demo.watch import alive, arrivals
from deploy.local.process import Process
from tests.chaos.world import until


@pytest.fixture
async def up() -> AsyncIterator[Process]:
    process = Process("up")
    process.launch(("sleep", "60"))
    yield process
    await process.kill()
    process.remove()


async def test_a_ringhook_that_dies_ends_the_demo_in_words_whatever_it_was_about(up: Process) -> None:
    async def broken() -> None:
        raise ConnectionResetError("the connection broke")

    stop = asyncio.Event()
    assert await alive(up, asyncio.sleep(0, "done"), stop) == "done"
    with pytest.raises(DemoFailed, match="the connection broke"):
        await alive(up, broken(), stop)
    waiting = asyncio.create_task(alive(up, asyncio.Event().wait(), stop))
    await up.kill()
    with pytest.raises(DemoFailed, match=r"^`ringhook up` was ended by signal 9$"):
        await waiting
    with pytest.raises(DemoFailed, match=r"^`ringhook up` was ended by signal 9$"):
        await alive(up, broken(), stop)


async def test_a_demo_that_is_asked_to_end_ends(up: Process) -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(alive(up, asyncio.Event().wait(), stop))
    stop.set()
    assert await waiting is None


async def test_each_event_that_comes_later_is_told_once() -> None:
    service, said = Service("whsec_"), list[str]()
    service.events.append({"id": "e0", "type": "com.ring.device_added"})
    telling = asyncio.create_task(arrivals({"alerts": service}, said.append))
    await asyncio.sleep(0)
    service.events.append({"id": "e1", "type": "com.ring.motion_detected", "partneruserid": "u-ada"})
    assert await until(lambda: bool(said), 5)
    service.events.append({"id": "e2", "type": "com.ring.button_press"})
    assert await until(lambda: "e2" in said[-1], 5)
    telling.cancel()
    assert said == [
        "the partner's alerts service got com.ring.motion_detected of u-ada, e1",
        "the partner's alerts service got com.ring.button_press of nobody yet, e2",
    ]


async def test_a_demo_that_cannot_start_says_so_without_a_traceback(tmp_path: Path) -> None:
    folder = tmp_path / "what?"  # no URL of a bus or a store leads there, so `up` ends at once
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "demo"),
        env={"PATH": os.defpath, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    said = out.decode()
    assert (process.returncode, "Traceback" in said) == (1, False), said
    assert "The demo failed: up did not start: it ended by itself. The end of its log:" in said
    assert "RINGHOOK_BUS_URL" in said
    assert not [path for path in folder.iterdir() if path.name.startswith("ringhook-demo-")]
