"""First contact counts what was proven: a good exchange, and a nonce that a grant's account reproduces."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from linker.notices import FirstProofs
from schemas.records import EdgeNoticed
from schemas.topics import EDGE_NOTICED
from tests.linker.reader import told
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from workers.bus import memory
from workers.bus.contract import BusUnavailable, Record

NOW = datetime(2026, 2, 15, tzinfo=UTC)


async def test_an_exchange_proves_the_code_and_a_match_the_redirect(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    assert rig.noted.kinds == ["code"]
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    assert rig.noted.kinds == ["code", "redirect"]


@pytest.mark.parametrize("fault", [400, 500, "cut"])
async def test_a_code_that_ring_does_not_exchange_proves_nothing(rig: Rig, fault: int | str) -> None:
    rig.ring.spoil("exchange", fault)
    await rig.settle(rig.linker(), await rig.code("acct-1"))
    assert rig.noted.kinds == []


async def test_a_nonce_of_nobodys_account_proves_nothing(rig: Rig) -> None:
    await rig.state(rig.linker(), await rig.code("acct-1"), "unclaimed")
    rig.noted.kinds.clear()
    await rig.sign_in("t1", nonce(rig.time(), "nobody"), rig.time())

    async def looked() -> bool:
        attempt = await rig.store.attempt("t1")
        return attempt is not None and attempt.horizon is not None

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, looked)
    assert rig.noted.kinds == []


async def test_the_first_proof_of_each_kind_is_told_once(namespace: str) -> None:
    async with memory.connect("memory:", namespace=namespace, topics=[EDGE_NOTICED]) as bus:
        proofs = FirstProofs(bus)
        assert await proofs(NOW) > timedelta(0)
        for kind in ("code", "code", "redirect"):
            proofs.proven(kind)
            assert proofs.wake.is_set()
            await proofs(NOW)
        found = await told(bus, "edge.noticed", EdgeNoticed, 2)
    assert sorted((notice.kind, notice.proven, notice.at) for notice in found) == [("code", True, NOW), ("redirect", True, NOW)]


async def test_a_proof_waits_for_a_bus_that_is_away() -> None:
    class Away:
        """A bus that comes back for the second try."""

        def __init__(self) -> None:
            self.tries, self.held = 0, list[Record]()

        async def publish(self, records: Sequence[Record]) -> None:
            self.tries += 1
            if self.tries == 1:
                raise BusUnavailable
            self.held += records

    bus = Away()
    proofs = FirstProofs(bus)
    proofs.proven("code")
    with pytest.raises(BusUnavailable):
        await proofs(NOW)
    for _ in range(2):
        await proofs(NOW)
    assert [record.key for record in bus.held] == [b"code"]
