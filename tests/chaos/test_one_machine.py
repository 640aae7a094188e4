import asyncio
import random
from pathlib import Path

import pytest

from tests.chaos.generator import Generator
from tests.chaos.ledger import Ledger, doubled
from tests.chaos.world import Sink, installation, recorded, until


@pytest.mark.chaos
@pytest.mark.timeout(240)
async def test_ten_kills_of_up_lose_nothing_and_record_nothing_twice(tmp_path: Path) -> None:
    ledger = Ledger()
    async with Sink().open() as sink:
        made = installation(tmp_path, sink)
        async with made.running("up"):
            generator, stop = Generator(made.public, ledger, pause=0.05), asyncio.Event()
            posting = asyncio.create_task(generator.run(stop))
            for _ in range(10):
                await asyncio.sleep(random.uniform(0.3, 1.5))  # noqa: S311 - when the power fails is nobody's secret
                await made.roles["up"].process.kill()
                await made.roles["up"].start()
            stop.set()
            await posting
            arrived = await until(lambda: not ledger.lost(sink.ids), 60)
        events = await recorded(made)
    assert len(ledger.acknowledged) > 200, generator.answers
    assert not ledger.lost(events)
    assert not doubled(events)
    assert not ledger.disorder(events)
    assert arrived, f"{len(ledger.lost(sink.ids))} never arrived at the sink"
    assert not ledger.disorder(sink.ids)
