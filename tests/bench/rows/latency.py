"""How long from accepted to the partner's HTTP service at 100 events/s, an open loop; and what of two cores is taken by it."""

from typing import Final, NamedTuple

from deploy.demo.installation import Installation
from tests.bench import accounts, ground
from tests.bench.figures import Figure
from tests.bench.ground import Ground, Sink
from tests.bench.rows.pipeline import ROLES, post

RATE, SECONDS, CONNECTIONS = 100, 20, 32
WHY_SQLITE: Final = (
    "One process has one core's time for all roles: what an event waits is mostly a turn of the event loop behind others' work. "
    "Asking the store's thread once a statement instead of four times took it from 78 to 216 ms to 37 to 72 ms within one "
    "half-hour; a calmer garbage collector came before that. The machine's own speed moves by 1.7 within an hour."
)
WHY_KAFKA: Final = (
    "The two cores are full (see the CPU above): the broker takes the most, for some fifty small transactions a second. Tried: "
    "offsets sent beside the records instead of after them (kept), a rest between transactions as long as the last one took "
    "(518 ms became 862), a broker compiled by C1 alone (429 became 319)."
)


class Run(NamedTuple):
    """How late each event came, in milliseconds and in order, and what each process used of a core meanwhile, in percent."""

    late: list[float]
    used: dict[str, float]


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return p99 on both engines, in turn."""
    seen: dict[str, list[Run]] = {"SQLite": [], "Kafka": []}
    async with ground.sink() as sink:
        small, large = on.small(sink), await on.house(sink)
        await accounts.link(small, "up")
        await accounts.link(large, "dispatch")
        for _ in range(rounds):
            seen["SQLite"].append(await _round(on, small, ("up",), sink))
            seen["Kafka"].append(await _round(on, large, ROLES, sink))
    return [_figure("SQLite", seen["SQLite"], 60, WHY_SQLITE), _figure("Kafka", seen["Kafka"], 200, WHY_KAFKA)]


async def _round(on: Ground, made: Installation, roles: tuple[str, ...], sink: Sink) -> Run:
    await sink.forget()
    async with made.running(*roles):
        await post(made, 200, connections=CONNECTIONS, rate=RATE)  # warm
        await sink.complete(200, within=20)
        await sink.forget()
        before = on.spent_by(made)
        await post(made, RATE * SECONDS, connections=CONNECTIONS, rate=RATE)
        told = await sink.complete(RATE * SECONDS, within=20)
        used = {name: (after - before[name]) / SECONDS * 100 for name, after in on.spent_by(made).items()}
        if told["ids"] < RATE * SECONDS:
            raise ValueError(f"only {told['ids']} of {RATE * SECONDS} came")
        return Run([seconds * 1000 for seconds in await sink.late()], used)


def _figure(engine: str, runs: list[Run], most: float, why: str) -> Figure:
    halves = sorted(run.late[len(run.late) // 2] for run in runs)
    most_of_all = [run.late[len(run.late) * 99 // 100] for run in runs]
    cpu = ", ".join(f"{name} {used:.0f}" for name, used in runs[-1].used.items() if used > 1)
    note = f"p50 {halves[len(halves) // 2]:.1f} ms; slowest of all {max(run.late[-1] for run in runs):.0f} ms; % of a core: {cpu}"
    return Figure(f"p99 latency at {RATE} events/s, {engine}", "ms", most_of_all, most, sense="at most", note=note, why=why)
