"""Baseline: consume, claim, write, in transactions; nothing else. Usage: bare_dispatch.py KAFKA IN OUT POSTGRES COUNT.

One consumer, one transactional producer, a batch a transaction, claims by one insert a batch: what an expert would write in an
afternoon. It forgets rebalances, unknown outcomes and everything else that makes the real one longer.
"""

import sys
import time

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

CLAIM = "insert into claim select unnest($1::text[]) on conflict do nothing returning id"


async def main(kafka: str, source: str, target: str, postgres: str, count: int) -> None:
    store = await asyncpg.connect(postgres)
    await store.execute("create table if not exists claim (id text primary key)")
    consumer = AIOKafkaConsumer(
        source, bootstrap_servers=kafka, group_id=f"bare.{source}", auto_offset_reset="earliest", enable_auto_commit=False
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"bare-{time.time()}", max_batch_size=1024 * 1024)
    await consumer.start()
    await producer.start()
    done, started, used = 0, 0.0, 0.0
    while done < count:
        batches = await consumer.getmany(timeout_ms=500, max_records=1_000)
        records = [record for batch in batches.values() for record in batch]
        if not records:
            continue
        started, used = started or time.perf_counter(), used or time.process_time()
        events = [(orjson.loads(record.value)["meta"]["request_id"], record) for record in records]
        async with producer.transaction():
            fresh = {row["id"] for row in await store.fetch(CLAIM, [name for name, _ in events])}
            for name, record in events:
                if name in fresh:
                    await producer.send(target, record.value, key=record.key)
            offsets = {partition: batch[-1].offset + 1 for partition, batch in batches.items() if batch}
            await producer.send_offsets_to_transaction(offsets, consumer._group_id)
        done += len(records)
    print([done / (time.perf_counter() - started), (time.process_time() - used) / done], flush=True)  # noqa: T201 - the result
    await consumer.stop()
    await producer.stop()
    await store.close()


uvloop.run(main(*sys.argv[1:5], int(sys.argv[5])))
