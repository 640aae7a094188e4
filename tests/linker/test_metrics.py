"""What operators see of links: every end once, every call by its name, and a log line only where something moved."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from linker.claims import CONTESTED
from linker.ledger import Moved
from linker.metrics import Result, Step
from linker.store import Store
from tests.linker.rig import Rig
from tests.linker.ring import nonce

Counts = Counter[tuple[str, str]]


@contextmanager
def counted() -> Iterator[tuple[Counts, Counts]]:
    """Give what rises in the block: ends by (what, state), and steps by (step, outcome)."""
    before, rose = read(), (Counts(), Counts())
    yield rose
    for counts, then, now in zip(rose, before, read(), strict=True):
        counts.update(now - then)


def read() -> tuple[Counts, Counts]:
    return _read("ringhook_links_total", "what", "state"), _read("ringhook_link_steps_total", "step", "outcome")


def _read(metric: str, one: str, two: str) -> Counts:
    samples = (sample for family in REGISTRY.collect() for sample in family.samples if sample.name == metric)
    return Counter({(sample.labels[one], sample.labels[two]): int(sample.value) for sample in samples})


async def completed(rig: Rig, name: str = "1", user: str = "u1") -> str:
    code = await rig.code("acct-1", f"canary-code-{name}")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in(f"t{name}", nonce(rig.time(), "acct-1"), rig.time(), user)
    await rig.state(rig.linker(), code, "completed")
    return code


async def test_a_completed_link_is_one_sign_in_and_one_grant(rig: Rig) -> None:
    with counted() as (ends, steps):
        await completed(rig)
    assert ends == {("attempt", "completed"): 1, ("grant", "completed"): 1}
    assert steps == {(step, "done"): 1 for step in ("exchange", "identify", "match", "post", "patch")}


async def test_a_refused_code_is_a_rejected_grant(rig: Rig) -> None:
    rig.ring.spoil("exchange", 400)
    with counted() as (ends, steps):
        await rig.settle(rig.linker(), await rig.code("acct-1"))
    assert ends == {("grant", "rejected"): 1}
    assert steps == {("exchange", "refused"): 1}


async def test_two_users_on_one_nonce_are_two_contested_sign_ins(rig: Rig) -> None:
    time = rig.time()
    with counted() as (ends, _):
        await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
        for attempt, user in (("t2", "u2"), ("t2", "u2"), ("t3", "u1")):  # a repeated record, and a user who confirms again
            await rig.sign_in(attempt, nonce(time, "acct-1"), time, user)
    assert ends == {("attempt", "contested"): 2}


async def test_each_sign_in_that_ends_leaves_one_line_with_its_id_and_why(rig: Rig) -> None:
    time = rig.time()
    with capture_logs() as lines:
        await completed(rig)
        await rig.sign_in("t2", nonce(time, "acct-2"), time, "u2")
        await rig.sign_in("t3", nonce(time, "acct-2"), time, "u3")
    ends = [line for line in lines if line["event"] == "link.ended"]
    told = [(line["attempt"], line["state"], line["log_level"], line["why"]) for line in ends]
    contested = [(attempt, "contested", "warning", CONTESTED) for attempt in ("t2", "t3")]
    assert told == [("t1", "completed", "info", None), *contested]


async def test_a_refused_post_rejects_the_sign_in_and_leaves_the_grant_open(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("post", 400)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())

    async def rejected() -> bool:
        found = await rig.store.attempt("t1")
        return found is not None and found.state == "rejected"

    linker = rig.linker()
    with counted() as (ends, steps):
        async with linker:
            await rig.turn(linker, rejected)
    assert ends == {("attempt", "rejected"): 1}
    assert steps == {("match", "done"): 1, ("post", "refused"): 1}


async def test_what_a_newer_link_replaced_is_a_removed_grant(rig: Rig) -> None:
    await completed(rig)
    rig.now += 7_200
    with counted() as (ends, _):
        await completed(rig, "2", "u2")
    assert ends == {("attempt", "completed"): 1, ("grant", "completed"): 1, ("grant", "removed"): 1}


async def test_a_sign_in_without_a_code_waits_and_expires_once(rig: Rig) -> None:
    await rig.sign_in("t1", nonce(rig.time(), "nobody"), rig.time())

    async def over() -> bool:
        found = await rig.store.attempt("t1")
        return found is not None and found.state == "expired"

    linker = rig.linker()
    with counted() as (ends, steps):
        async with linker:
            await rig.turn(linker, over, turns=3_000)
    assert ends == {("attempt", "expired"): 1}
    assert steps.keys() == {("match", "waiting")}


async def test_every_answer_of_ring_is_counted_by_what_it_means(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", 429, 404, "cut", 401)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    with counted() as (ends, steps):
        await rig.state(rig.linker(), code, "completed")
    assert ends == {("attempt", "completed"): 1, ("grant", "completed"): 1}
    patched = {("patch", outcome): 1 for outcome in ("unavailable", "refused", "unclear", "unauthorised", "done")}
    assert steps == patched | {("match", "done"): 1, ("post", "done"): 1, ("refresh", "done"): 1}


async def test_a_step_that_another_linker_was_quicker_with_is_superseded(rig: Rig) -> None:
    class Late(Store):
        async def intend(self, *_given: object) -> object:  # type: ignore[override] # only raises
            raise Moved

    await rig.code("acct-1")
    linker = rig.linker(store=Late(rig.database))
    with counted() as (_, steps):
        async with linker:
            await rig.turn_once(linker)
    assert steps == {("exchange", "superseded"): 1}


async def test_labels_are_from_closed_sets(rig: Rig) -> None:
    await completed(rig)
    _, steps = read()
    assert {step for step, _ in steps} <= set(get_args(Step))
    assert {outcome for _, outcome in steps} <= set(get_args(Result))


@pytest.mark.parametrize(("call", "tries"), [("identify", 12), ("patch", 12)])
async def test_a_step_that_is_tried_again_is_told_once_and_then_only_to_who_debugs(rig: Rig, call: str, tries: int) -> None:
    rig.ring.spoil(call, *[503] * tries)
    with capture_logs() as lines:
        await completed(rig)
    moved = [(line["step"], line["next"]) for line in lines if line["event"] == "link.moved"]
    assert moved == [("exchange", "identify"), ("identify", "wait"), ("post", "patch"), ("patch", "rest")]
    assert [line["log_level"] for line in lines if line["event"] == "link.put_off"] == ["info"] + ["debug"] * (tries - 1)
