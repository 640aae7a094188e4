"""Records become rows once, whatever is repeated; what is no record of ours is buried."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from structlog.testing import capture_logs

from linker.claims import LOOKING
from schemas.errors import Rejected
from schemas.records import CodeReceived, LinkRequested
from tests.linker.rig import Rig, held
from tests.linker.ring import nonce


async def test_a_repeated_batch_changes_nothing(rig: Rig) -> None:
    code = await rig.code("acct-1")
    done = await rig.state(rig.linker(), code, "unclaimed")
    assert await rig.code("acct-1") == code
    assert await rig.grants(code) == [done]
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    linked = await rig.state(rig.linker(), code, "completed")
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    assert await rig.grants(code) == [linked]
    assert rig.ring.count("exchange") == rig.ring.count("post") == 1


async def test_a_batch_wakes_advance(rig: Rig) -> None:
    assert not rig.intake.wake.is_set()
    await rig.code("acct-1")
    async with asyncio.timeout(5):
        await rig.intake.wake.wait()
    assert list(rig.intake.stepped) == []


async def test_a_clock_of_ingress_that_is_ahead_keeps_neither_a_code_nor_a_sign_in_waiting_and_is_told(rig: Rig) -> None:
    began, time, ahead = rig.now, rig.time(), rig.now + 70
    given = nonce(time, "acct-1")
    rig.ring.redirected(given, time)
    asked = msgspec.structs.replace(rig.request("t1", given, time, "u1"), requested_at=datetime.fromtimestamp(ahead, UTC))
    with capture_logs() as logs:
        code = await rig.code("acct-1", at=ahead)
        await rig.feed(held("link.requested", "t1", asked))
    await rig.state(rig.linker(), code, "completed")
    assert rig.now - began < 5
    [line] = [line for line in logs if line["event"] == "clock.behind"]
    assert (line["log_level"], line["seconds"]) == ("warning", 70)


@pytest.mark.parametrize("value", [b'{"x":', b'{"attempt":"\xff","app":"\xff"}', b'{"x":' + b"[" * 20_000])
@pytest.mark.parametrize("topic", ["code.received", "link.requested"])
async def test_what_is_no_record_of_ours_is_buried_and_the_rest_taken_in(rig: Rig, topic: str, value: bytes) -> None:
    bad = msgspec.structs.replace(held(topic, "k", _code(rig)), value=value)
    results = await rig.feed(bad, held("code.received", "good", _code(rig)))
    assert isinstance(results[0], Rejected)
    assert results[0].reason == "malformed"
    assert results[1] == ()
    assert len(await rig.grants("good")) == 1


async def test_a_sign_in_that_cannot_be_opened_or_be_rings_is_buried(rig: Rig) -> None:
    altered = msgspec.structs.replace(rig.request("t1", nonce("1", "a"), rig.time(), "u1"), secret=b"altered")
    odd_time = rig.request("t2", nonce("1", "a"), "12", "u1")
    odd_nonce = rig.request("t3", "short", rig.time(), "u1")
    results = await rig.feed(*(held("link.requested", _id(asked), asked) for asked in (altered, odd_time, odd_nonce)))
    assert [type(result) for result in results] == [Rejected] * 3


def _id(asked: LinkRequested) -> str:
    return asked.attempt


def _code(rig: Rig) -> CodeReceived:
    sealed = rig.request("x", nonce("1", "a"), rig.time(), "u1")
    return CodeReceived(code=sealed.secret, received_at=sealed.requested_at, app="first")


async def test_a_user_with_many_sign_ins_on_their_way_keeps_the_last_ones_and_takes_none_of_others(rig: Rig) -> None:
    await rig.sign_in("other", nonce(rig.time(), "nobody"), rig.time(), user="ada")
    for number in range(LOOKING + 3):
        rig.now += 1
        await rig.sign_in(f"t{number}", nonce(rig.time(), "nobody"), rig.time(), user="mallory")
    found = [await rig.store.attempt(f"t{number}") for number in range(LOOKING + 3)]
    assert [attempt.state for attempt in found if attempt] == ["expired"] * 3 + ["received"] * LOOKING
    first, other = found[0], await rig.store.attempt("other")
    assert first
    assert other
    assert "you signed in 32 more times since" in (first.reason or "")
    assert (first.secret, first.due_at, other.state) == (None, None, "received")
