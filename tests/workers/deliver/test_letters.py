"""What deliver itself publishes, as it stands in memory until it is held."""

import json
import tracemalloc
from datetime import UTC, datetime

from tests.workers.deliver.support import event
from workers.bus.contract import Held
from workers.deliver.answer import Answer, Timing, Verdict
from workers.deliver.letters import attempted, dead_letter
from workers.deliver.parcel import packed
from workers.deliver.policy import Bury
from workers.deliver.policy import attempted as tried

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)
ANSWER = Answer(status=503, took=0.0123, timing=Timing(connect=0.001, wait=0.011), said="zu viel, später".encode())
SOME = 200


def held() -> Held:
    record = event("e1")
    return Held(topic=record.topic, key=record.key, value=record.value, headers=record.headers, index=3, offset=17, time=NOW)


def test_what_is_told_of_attempts_takes_little_more_memory_than_it_is_long() -> None:
    """Thousands wait while the bus is away, and the newest are kept on one machine, both bounded by their lengths."""
    parcel, tries = packed(held()), tried(None, Verdict.THROTTLED, ANSWER, NOW, single=False)
    assert parcel.event
    tracemalloc.start()
    try:
        records = [attempted("alerts", parcel.held, parcel.event, tries, ANSWER) for _ in range(SOME)]
        letters = [dead_letter("alerts", parcel.held, Bury("exhausted"), tries, NOW) for _ in range(SOME)]
        took, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    long = sum(len(record.value) for record in records) + sum(len(value) for one in letters for _, value in one.headers)
    assert took < 2 * long + 2 * SOME * 500
    assert json.loads(records[0].value)["answer"] == "zu viel, später"
