"""Ingress on Kafka, acks=all, against a handler that only checks the HMAC, and against FastAPI with the same checks."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from deploy.demo.installation import Installation
from deploy.local import ports
from deploy.local.process import Process
from schemas.topics import WEBHOOK_RECEIVED, physical
from tests.bench import ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import BASELINES, HERE, Ground
from tests.chaos.generator import KEY

WARM, RUN, CONNECTIONS, BODIES = 2, 8, 64, 2_000
Contender = tuple[int, Callable[[], AbstractAsyncContextManager[Any]]]  # its port, and what runs it


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return both ratios; within a round the three run one after the other, each alone with the broker."""
    made = await on.house()
    lines = webhooks.write(on.scratch() / "webhooks", BODIES)
    bare, fast = ports.free(2)
    topic = physical(made.environment["RINGHOOK_NAMESPACE"], WEBHOOK_RECEIVED.name)
    contenders: dict[str, Contender] = {
        "bare": (bare, lambda: ground.script(BASELINES / "bare_ingress.py", bare, KEY)),
        "fastapi": (fast, lambda: ground.script(BASELINES / "fastapi_ingress.py", fast, KEY, on.kafka.bootstrap, topic)),
        "ours": (int(made.public.rpartition(":")[2]), lambda: made.running("ingress")),
    }
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (port, run) in contenders.items():
            async with run() as running:
                process = running.roles["ingress"].process if isinstance(running, Installation) else running
                told[name].append(await _loaded(process, port, lines))
    return _figures(told)


async def _loaded(process: Process, port: int, lines: Path) -> dict[str, Any]:
    await _wrk(port, lines, WARM)
    before = ground.spent(process)
    told = await _wrk(port, lines, RUN)
    return told | {"cpu": (ground.spent(process) - before) / (told["rate"] * RUN)}


async def _wrk(port: int, lines: Path, seconds: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    said: dict[str, Any] = await ground.result(
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", HERE / "webhooks.lua", url, "--", lines
    )
    if said["refused"] or said["broken"]:
        raise ValueError(f"wrk was refused {said['refused']} times and met {said['broken']} broken connections")
    return said


def _figures(told: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    runs = {name: [Run(run["rate"], run["cpu"]) for run in found] for name, found in told.items()}
    waits = ", ".join(f"{name} {max(run['p99'] for run in found) * 1000:.0f} ms" for name, found in told.items())
    note = f"{CONNECTIONS} connections, {RUN} s a run; greatest p99 of the rounds: {waits}"
    return [
        versus("ingress on Kafka / bare aiohttp, only the HMAC", 0.6, runs["ours"], runs["bare"], note),
        versus("ingress on Kafka / FastAPI + send_and_wait", 2.2, runs["ours"], runs["fastapi"], "the same runs"),
    ]
