"""What a destination has not got is counted wherever it waits, so that nobody takes it away unasked."""

from datetime import UTC, datetime

from tests.workers.deliver.support import STORES, Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver import replay
from workers.deliver.backlog import backlog
from workers.deliver.replay import Replay, Wanted


async def test_it_is_what_is_on_the_bus_and_what_was_asked_for_once_more(bus: Bus, sink: Sink) -> None:
    await bus.publish([event(f"e{number}") for number in range(3)])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == 3)
    assert await backlog(bus, STORES[-1], "alerts") == 0
    await bus.publish([event(f"late{number}") for number in range(2)])
    assert await backlog(bus, STORES[-1], "alerts") == 2
    now = datetime.now(UTC).timestamp()
    span = {"begin_at": 0.0, "end_at": now, "asked_at": now, "total": 7, "looked": 0, "copied": 0}
    one = Replay(id="r1", destination="alerts", state="copying", wanted=Wanted(), by="ada", **span)  # type: ignore[arg-type] # as named
    async with STORES[-1].begin() as connection:
        await replay.begin(connection, one)
    assert await backlog(bus, STORES[-1], "alerts") == 9
    assert await backlog(bus, STORES[-1], "other") == 0
