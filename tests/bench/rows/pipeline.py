"""From accepted to delivered: all roles on Kafka and PostgreSQL, and `up` on SQLite."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from deploy.demo.installation import Installation
from tests.bench import accounts, ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import HERE, Ground, Sink

ROLES: Final = ("ingress", "dispatch", "deliver", "linker", "admin")
COUNT, CONNECTIONS, WITHIN_S = 8_000, 64, 60.0


@dataclass
class Seen:
    """What the rounds of one engine gave."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=dict)
    missing: int = 0
    refused: int = 0


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return rate and CPU of both, in turn; every round starts the processes anew."""
    many, one = Seen(), Seen()
    async with ground.sink() as sink:
        large, small = await on.house(sink), on.small(sink)
        await accounts.link(large, "dispatch")
        await accounts.link(small, "up")
        for _ in range(rounds):
            await _round(large, ROLES, sink, many)
            await _round(small, ("up",), sink, one)
    return [*_figures("Kafka + PostgreSQL, five roles", many, 1_200, 900), *_figures("`up` on SQLite", one, 500)]


async def _round(made: Installation, roles: tuple[str, ...], sink: Sink, seen: Seen) -> None:
    await sink.forget()
    async with made.running(*roles):
        await post(made, 200)  # warm
        await sink.complete(200, within=20)
        await sink.forget()
        before = ground.spent_by(made)
        posted = await post(made, COUNT)
        told = await sink.complete(COUNT, within=WITHIN_S)
        used = {role: (after - before[role]) / COUNT * 1e6 for role, after in ground.spent_by(made).items()}
    seen.refused += posted["refused"]
    seen.missing += COUNT - told["ids"]
    seen.rates.append(told["ids"] / (told["last"] - posted["first"]))
    seen.costs.append(sum(used.values()))
    for role, cost in used.items():
        seen.shares.setdefault(role, []).append(cost)


async def post(made: Installation, count: int, *, connections: int = CONNECTIONS, rate: float = 0) -> dict[str, Any]:
    """Post so many new webhooks at the installation's door, each until it is answered 200."""
    lines: Path = webhooks.write(made.directory / "webhooks", count)
    port = made.public.rpartition(":")[2]
    found: dict[str, Any] = await ground.result(sys.executable, HERE / "poster.py", port, lines, connections, rate)
    return found


def _figures(on: str, seen: Seen, asked: float, cost: float = 0) -> list[Figure]:
    shares = ", ".join(f"{role} {sorted(costs)[len(costs) // 2]:.0f}" for role, costs in seen.shares.items())
    note = f"{COUNT:,} events from {CONNECTIONS} connections" + (
        f"; {seen.missing} NOT DELIVERED in time" if seen.missing else ""
    )
    sense: Literal["at most", "report"] = "at most" if cost else "report"
    return [
        Figure(f"pipeline, {on}", "events/s", seen.rates, asked, note=note),
        Figure(f"its CPU, {on}", "µs/event", seen.costs, cost, sense=sense, note=f"by process: {shares}"),
    ]
