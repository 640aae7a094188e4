"""What an operator sees of topics by the commands, on one machine and on many: through real processes and engines."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from deploy.demo.scene import FAILURES, Scene
from deploy.demo.walk import Walk
from tests.e2e.test_commands import ringhook


def asking(scene: Scene) -> dict[str, Any]:
    """Return where a command runs, and what it is told."""
    told = {"RINGHOOK_TOKEN": scene.token, "RINGHOOK_INTERNAL_URL": scene.made.internal}
    return {"cwd": scene.made.directory, **told}


async def objects(scene: Scene, *words: str) -> list[dict[str, Any]]:
    code, said = await ringhook(*words, "--json", **asking(scene))
    assert code == 0, said
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


async def watching(scene: Scene) -> Process:
    """Begin to print what is new; return once it does."""
    more = asking(scene)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "tail", "--json"),
        cwd=more.pop("cwd"),
        env={"PATH": os.defpath, **more},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stderr
    said = await asyncio.wait_for(process.stderr.readline(), 30)  # that data is left out is told with the first answer
    assert b"lacks the scope `bodies`" in said
    return process


async def test_operators_look_into_topics_by_commands(scene: Scene) -> None:
    tail = await watching(scene)
    walk = Walk(scene, lambda _: None)
    await walk.run()
    await it_prints_what_comes_until_ctrl_c(tail, walk)
    await what_was_recorded_is_printed_once(scene, walk.sent.linked)
    await what_became_of_an_event_is_told(scene)
    await what_was_put_aside_is_told(scene, walk.sent.quarantined)


async def it_prints_what_comes_until_ctrl_c(tail: Process, walk: Walk) -> None:
    assert tail.stdout
    assert tail.stderr
    async with asyncio.timeout(30):
        first = json.loads(await tail.stdout.readline())
        assert (first["specversion"], "data" in first) == ("1.0", False)
        assert first["id"] in walk.sent.linked
        tail.send_signal(signal.SIGINT)
        await tail.stdout.read()
        assert (await tail.stderr.read(), await tail.wait()) == (b"", 0)


async def what_was_recorded_is_printed_once(scene: Scene, ids: list[str]) -> None:
    seen = await objects(scene, "tail", "--from", "first", "--limit", str(len(ids)))
    assert sorted(event["id"] for event in seen) == sorted(ids)
    presses = await objects(scene, "tail", "--from", "first", "--type", "button_press", "--limit", "1")
    assert [event["type"] for event in presses] == ["com.ring.button_press"]


async def what_became_of_an_event_is_told(scene: Scene) -> None:
    failed = await objects(scene, "deliveries", "list", "--failed")
    assert len(failed) == FAILURES
    event = failed[0]["event"]  # each failure was another event's
    code, said = await ringhook("deliveries", "show", event, **asking(scene))
    lines = [line for line in said.splitlines() if "attempt" in line]
    assert code == 0
    assert f"{event} is com.ring." in said
    assert [line.partition("attempt ")[2].partition(", after")[0] for line in lines][:2] == [
        "1: asked to slow down, 503",
        "2: accepted, 204",
    ]


async def what_was_put_aside_is_told(scene: Scene, quarantined: int) -> None:
    letters = await objects(scene, "dead", "list")
    assert len(letters) == quarantined > 0
    assert {letter["address"].split(":")[0] for letter in letters} == {"webhook.received.dead"}
    code, said = await ringhook("dead", "show", letters[0]["address"], **asking(scene))
    assert code == 0
    assert said.startswith(f"{letters[0]['address']} was put aside at ")
    assert "is shown to a token with the scope `bodies`" in said
