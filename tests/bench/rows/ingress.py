"""Ingress on Kafka, acks=all, against a handler that only checks the HMAC, and against FastAPI with the same checks."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from deploy.local import ports
from schemas.topics import WEBHOOK_RECEIVED, physical
from tests.bench import ground, webhooks
from tests.bench.figures import Figure
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
            async with run():
                told[name].append(await _loaded(port, lines))
    return _figures(told)


async def _loaded(port: int, lines: Path) -> dict[str, Any]:
    await _wrk(port, lines, WARM)
    return await _wrk(port, lines, RUN)


async def _wrk(port: int, lines: Path, seconds: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    said = await ground.result("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", HERE / "webhooks.lua", url, "--", lines)
    if said["refused"] or said["broken"]:
        raise ValueError(f"wrk was refused {said['refused']} times and met {said['broken']} broken connections")
    return said  # type: ignore[no-any-return] # our own script's JSON


def _figures(told: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    rates = {name: [run["rate"] for run in runs] for name, runs in told.items()}
    waits = ", ".join(f"{name} {max(run['p99'] for run in runs) * 1000:.0f} ms" for name, runs in told.items())
    note = f"{CONNECTIONS} connections, {RUN} s a run; greatest p99 of the rounds: {waits}"
    return [
        Figure(
            "ingress on Kafka / bare aiohttp that only checks the HMAC", "req/s", rates["ours"], 0.6, rates["bare"], note=note
        ),
        Figure("ingress on Kafka / FastAPI + send_and_wait", "req/s", rates["ours"], 2.2, rates["fastapi"]),
    ]
