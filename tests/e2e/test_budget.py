"""Two linkers on one store, at the simulated Ring: never more than the rate in any second, one dies, one hears a 429."""

import time
from pathlib import Path

import pytest

from deploy.demo.ring.faults import Fault
from deploy.demo.ring.ring import Ring
from tests.bench.rows.links import ring_of
from tests.bench.rows.renewals import fill
from tests.chaos.world import Sink, installation, until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
REFRESH = "POST /oauth/token refresh_token"
ACCOUNTS, RATE, RESTS, HELD = 1_000, 100, 3.0, 64


def renewed(ring: Ring) -> int:
    return sum(call.status == 200 for call in ring.ledger.calls)


@pytest.mark.timeout(240)
async def test_two_linkers_together_never_exceed_the_rate(
    tmp_path: Path, kafka_url: str, postgres_url: str, namespace: str
) -> None:
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
    sink = Sink()
    sink.url = "http://127.0.0.1:9/"
    made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
    await made.prepare()
    async with ring_of(made) as ring:
        await fill(made, ring, ACCOUNTS)
        one, _ = made.add("linker"), made.add("linker", "-2")
        async with made.started():
            assert await until(lambda: renewed(ring) > 200, 60)
            ring.faults.next(REFRESH, Fault(status=429, headers=(("Retry-After", str(RESTS)[:1]),)))
            assert await until(lambda: any(call.status == 429 for call in ring.ledger.calls), 30)
            limited = next(call.at for call in ring.ledger.calls if call.status == 429)
            assert await until(lambda: ring.ledger.calls[-1].at > limited + RESTS, 30)
            await one.process.kill()
            killed = time.time()
            assert await until(lambda: renewed(ring) >= ACCOUNTS - HELD, 90)  # of the dead one's leases some last longer
    at = [call.at for call in ring.ledger.calls]
    assert ring.ledger.busiest() <= RATE
    assert not [moment for moment in at if limited + 0.5 < moment < limited + RESTS]
    assert [moment for moment in at if killed + 1.5 < moment < killed + 3.5]
