"""What anybody may send without end does not stay without end."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select

from linker import claims, pruning, saga
from linker.held import columns_of
from linker.pruning import DAY, SOON, Bygone
from linker.rows import Grant
from linker.store import add_grants
from linker.tables import attempts, grants
from schemas.records import LinkState
from tests.linker.rig import Rig


def ended(rig: Rig, name: str, state: LinkState, days: float, *, stranger: bool = True) -> Grant:
    fresh = saga.received(code_hash=name, code=b"", app="first", stranger=stranger, at=rig.now - days * DAY)
    return replace(fresh, state=state, stage="rest", due_at=None)


async def pruned(rig: Rig) -> timedelta:
    return await Bygone(rig.database)(datetime.fromtimestamp(rig.now, UTC))


async def kept(rig: Rig) -> set[str]:
    async with rig.database.read() as connection:
        return {*await connection.scalars(select(grants.c.code_hash))} | {*await connection.scalars(select(attempts.c.attempt))}


async def test_of_strangers_codes_the_last_ones_stay_and_what_was_sent_stays_longer_than_its_record(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MOST", 10)
    flood = [ended(rig, f"unsent-{number}", "expired", number / 1e5) for number in range(15)]
    sent = [
        ended(rig, "sent-young", "rejected", 1.9),
        ended(rig, "sent-old", "rejected", 2.1),
        ended(rig, "lost-old", "lost", 2.1),
    ]
    async with rig.database.begin() as connection:
        await add_grants(connection, [*flood, *sent, ended(rig, "unsent-old", "expired", 2.1)])
    await pruned(rig)
    assert await kept(rig) == {*(f"unsent-{number}" for number in range(10)), "sent-young"}


async def test_a_flood_is_gone_in_chunks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MOST", 0)
    monkeypatch.setattr(pruning, "CHUNK", 10)
    async with rig.database.begin() as connection:
        await add_grants(connection, [ended(rig, f"{number}", "expired", 0.1) for number in range(25)])
    assert [await pruned(rig), await pruned(rig)] == [SOON, SOON]
    assert await pruned(rig) > SOON
    assert await kept(rig) == set()


async def test_what_is_ours_stays_for_a_month_and_what_lives_or_names_an_account_stays(rig: Rig) -> None:
    rows = [
        ended(rig, "young", "expired", 29, stranger=False),
        ended(rig, "old", "expired", 31, stranger=False),
        replace(ended(rig, "removed", "removed", 99, stranger=False), account="acct"),
        replace(ended(rig, "pending", "unclaimed", 99), due_at=rig.now),
        replace(ended(rig, "stranger", "completed", 99), account="other"),
    ]
    async with rig.database.begin() as connection:
        await add_grants(connection, rows)
    await pruned(rig)
    assert await kept(rig) == {"young", "removed", "pending", "stranger"}


async def test_sign_ins_that_ended_go_after_a_month_and_those_of_links_that_stand_never(rig: Rig) -> None:
    asked = rig.request("a", "x" * 43, rig.time(99 * DAY), "u1")
    one = claims.requested(
        attempt="", nonce_hash="", secret=asked.secret, time=asked.time, partner_user="u1", at=rig.now - 99 * DAY
    )
    states: tuple[LinkState, ...] = ("expired", "contested", "removed", "received", "completed", "claimed")
    rows = [replace(one, attempt=state, nonce_hash=state, state=state, due_at=None) for state in states]
    young = replace(one, attempt="young", nonce_hash="young", state="expired", due_at=None, until=rig.now - 29 * DAY)
    async with rig.database.begin() as connection:
        await connection.execute(insert(attempts), [columns_of(row) for row in [*rows, young]])
    await pruned(rig)
    assert await kept(rig) == {"completed", "claimed", "young"}
