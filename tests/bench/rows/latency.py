"""How long from accepted to the partner's HTTP service at 100 events/s, an open loop."""

from deploy.demo.installation import Installation
from tests.bench import accounts, ground
from tests.bench.figures import Figure
from tests.bench.ground import Ground, Sink
from tests.bench.rows.pipeline import ROLES, post

RATE, SECONDS, CONNECTIONS = 100, 20, 32


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return p99 on both engines, in turn."""
    late: dict[str, list[list[float]]] = {"SQLite": [], "Kafka": []}
    async with ground.sink() as sink:
        small, large = on.small(sink), await on.house(sink)
        await accounts.link(small, "up")
        await accounts.link(large, "dispatch")
        for _ in range(rounds):
            late["SQLite"].append(await _round(small, ("up",), sink))
            late["Kafka"].append(await _round(large, ROLES, sink))
    return [_figure("SQLite", late["SQLite"], 60), _figure("Kafka", late["Kafka"], 200)]


async def _round(made: Installation, roles: tuple[str, ...], sink: Sink) -> list[float]:
    await sink.forget()
    async with made.running(*roles):
        await post(made, 200, connections=CONNECTIONS, rate=RATE)  # warm
        await sink.complete(200, within=20)
        await sink.forget()
        await post(made, RATE * SECONDS, connections=CONNECTIONS, rate=RATE)
        told = await sink.complete(RATE * SECONDS, within=20)
        if told["ids"] < RATE * SECONDS:
            raise ValueError(f"only {told['ids']} of {RATE * SECONDS} came")
        return [seconds * 1000 for seconds in await sink.late()]


def _figure(engine: str, runs: list[list[float]], most: float) -> Figure:
    halves = sorted(run[len(run) // 2] for run in runs)
    most_of_all = [run[len(run) * 99 // 100] for run in runs]
    note = f"p50 {halves[len(halves) // 2]:.1f} ms; slowest of all {max(run[-1] for run in runs):.0f} ms"
    return Figure(f"p99 latency at {RATE} events/s, {engine}", "ms", most_of_all, most, sense="at most", note=note)
