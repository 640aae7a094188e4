"""What the operator's lists and the renewal's sweep cost: an index each, however many accounts there are."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import asdict, replace
from sqlalchemy import event, insert, text
from sqlalchemy.engine import Engine

from deploy import migrations
from linker import saga
from linker.held import columns_of
from linker.mishap import FORGOTTEN, Mishap
from linker.rows import ASIDE, Account, Grant
from linker.sealed import Sealed
from linker.store import Due, Store
from linker.tables import accounts, grants
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from workers.runtime.database import Database, connect

MANY = 5_000


def rows() -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    grants = [
        Grant(
            app="first",
            code_hash=f"hash{n}",
            received_at=1.0,
            generation=n,
            state="completed",
            stage="rest",
            queue=ASIDE,
            due_at=1_000.0 + n,
            account=f"acct{n}",
        )
        for n in range(1, MANY + 1)
    ]
    accounts = [
        Account(account=f"acct{n}", version=1, announced=1, generation=n, risk="failing" if n % 250 == 0 else None)
        for n in range(1, MANY + 1)
    ]
    return [columns_of(grant) for grant in grants], [asdict(account) | {"behind": False} for account in accounts]


@contextmanager
def statements() -> Iterator[list[tuple[str, object]]]:
    """Hear every statement, with its parameters."""
    heard: list[tuple[str, object]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        heard.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def plans(database: Database, heard: list[tuple[str, object]]) -> str:
    """Return how the engine would run what was heard."""
    word, found = "explain" if database.dialect == "postgresql" else "explain query plan", list[str]()
    async with database.begin() as connection:
        for statement, parameters in heard:
            if statement.lstrip().upper().startswith(("SELECT", "UPDATE")):
                rows = await connection.exec_driver_sql(f"{word} {statement}", parameters)  # type: ignore[arg-type] # as it came
                found += [str(row[-1]) for row in rows]
    return "\n".join(found)


@pytest.fixture
async def filled(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        async with database.begin() as connection:
            for table, values in zip((grants, accounts), rows(), strict=True):
                await connection.execute(insert(table), values)
        async with database.begin() as connection:
            for table in (grants, accounts):
                await connection.execute(text(f"analyze {table.name}"))
        yield database


async def test_the_accounts_at_risk_are_found_in_an_index_of_their_own(filled: Database) -> None:
    store = Store(filled)
    with statements() as heard:
        assert sum((await store.risks(100)).values()) == 20
        assert len(await store.listed("", 5, at_risk=True)) == 5
    found = await plans(filled, heard)
    assert "ix_linker_accounts_account_risk" in found
    assert "ix_linker_grants_account" in found
    assert not scans(found)


async def test_a_page_of_all_accounts_and_the_next_renewals_cost_no_scan(filled: Database) -> None:
    store = Store(filled)
    with statements() as heard:
        page = await store.listed("acct5", 5, at_risk=False)
        due = await store.take_grants(owner="o", now=1_010.0, length=1.0, limit=4, queue=ASIDE)
        first = await store.next_due()
    assert page[0][0].account == "acct50"
    assert len(due) == 4
    assert first == Due({ASIDE: 1_005.0}, None)
    found = await plans(filled, heard)
    assert "ix_linker_grants_queue_due_at" in found
    assert not scans(found)


async def test_the_code_that_a_sign_in_waits_for_in_vain_is_found_in_a_migrated_store_among_any_number(store_url: str) -> None:
    await migrations.upgrade(store_url)
    junk = saga.received(code_hash="", code=b"", app="first", stranger=True, at=1_000.0)
    over = [saga.unwelcome(replace(junk, code_hash=f"junk{n}"), 1_000.0).grant for n in range(MANY)]
    mine = replace(over[0], code_hash="mine", stranger=False)
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.execute(insert(grants), [*rows()[0], *map(columns_of, (*over, mine))])
        async with database.begin() as connection:
            await connection.execute(text("analyze linker_grants"))
        with statements() as heard:
            assert await Store(database).mishap(1_900.0) == Mishap(received_at=1_000.0, state="rejected", reason=FORGOTTEN)
            assert await Store(database).mishap(1_901.0) is None
        found = await plans(database, heard)
    assert "ix_linker_grants_received_at" in found
    assert not scans(found)


async def test_the_links_of_a_user_are_found_in_a_migrated_store_among_any_number(store_url: str) -> None:
    await migrations.upgrade(store_url)
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.execute(insert(grants), [row | {"partner_user": row["account"]} for row in rows()[0]])
        async with database.begin() as connection:
            await connection.execute(text("analyze linker_grants"))
        with statements() as heard:
            assert [grant.account for grant in await Store(database).own("acct7")] == ["acct7"]
        found = await plans(database, heard)
    assert "ix_linker_grants_partner_user_generation" in found
    assert not scans(found)


async def test_the_grants_that_are_marked_as_unreadable_are_found_in_a_migrated_store_among_any_number(store_url: str) -> None:
    await migrations.upgrade(store_url)
    risks = {"hash7": "unreadable", "hash8": "failing"}
    sealed = [row | {"sealed_with": "k1", "risk": risks.get(str(row["code_hash"]))} for row in rows()[0]]
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.execute(insert(grants), sealed)
        async with database.begin() as connection:
            await connection.execute(text("analyze linker_grants"))
        with statements() as heard:
            assert [grant.code_hash for grant in await Sealed(database).marked("k1", "", 10)] == ["hash7"]
        found = await plans(database, heard)
    assert "ix_linker_grants_risk_sealed_with_code_hash" in found
    assert not scans(found)


def scans(found: str) -> list[str]:
    """Return the steps that read a whole table, or an index of all its rows."""
    steps = [line for line in found.splitlines() if "Seq Scan on linker" in line or line.startswith("SCAN linker")]
    return [step for step in steps if "ix_linker_accounts_account_risk" not in step]  # which holds nothing but accounts at risk


async def test_a_link_costs_no_more_statements_than_it_did(rig: Rig) -> None:
    """Each is a round trip to the store: what 50 links a second cost is counted in them."""
    with statements() as heard:
        code = await rig.code("acct-1")
        await rig.state(rig.linker(), code, "unclaimed")
        await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
        await rig.state(rig.linker(), code, "completed")
    words = [statement for statement, _ in heard if "lease_until <" not in statement]  # looks for what is due come as they may
    writes = [statement[:40] for statement in words if statement.startswith(("INSERT", "UPDATE", "DELETE"))]
    looks = [statement for statement in words if statement.startswith("SELECT") and "FROM linker_accounts" in statement]
    assert (len(writes), len(looks)) == (18, 5), writes


async def test_links_that_are_completed_at_one_time_share_their_statements(rig: Rig) -> None:
    async def linked(*names: str) -> int:
        with statements() as heard:
            codes = [await rig.code(name) for name in names]
            await rig.states(rig.linker(), "unclaimed", *codes)
            for name in names:
                await rig.sign_in(f"t-{name}", nonce(rig.time(), name), rig.time())
            await rig.states(rig.linker(), "completed", *codes)
        return len([statement for statement, _ in heard if statement.startswith(("INSERT", "UPDATE", "DELETE"))])

    one = await linked("acct-0")
    assert await linked(*(f"acct-{number}" for number in range(1, 21))) < 20 * one / 3
