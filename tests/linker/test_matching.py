"""A sign-in's look for its grant: whatever an account is called, wherever a page ends, whichever app it is of."""

import asyncio

import pytest
from msgspec.structs import asdict, replace
from sqlalchemy import insert

from linker import saga
from linker.held import columns_of
from linker.matching import FIRST_PAGE, PAGE, Looked, Matching
from linker.pool import Page
from linker.rows import Account, Attempt
from linker.store import add_grants
from linker.tables import accounts, grants
from schemas.records import App
from schemas.ring import nonce as made
from tests.linker.rig import APPS, Rig
from tests.linker.ring import nonce
from workers.runtime.rows import insert_ignore

ODD = [
    '"',
    "\\",
    "', '",
    "a\nb",
    "\t\x1f\x7f",
    "[]",
    "null",
    "é",
    "\u2028",
    "\U0001f514",
    "%s :pool ?",
    " ",
    "x" * 512,
    "x" * 511,
]


async def unclaimed(rig: Rig, code_hash: str, account: str, *, app: App = "first", pool: int = 1, ago: float = 60) -> None:
    """Let a grant be in the pool."""
    at = rig.now - ago
    fresh = saga.received(code_hash=code_hash, code=b"", app=app, stranger=False, at=at)
    known = replace(fresh, state="unclaimed", stage="wait", account=account, pool=pool, open_at=at, due_at=at + 1e6)
    async with rig.database.begin() as connection:
        await add_grants(connection, [known])
        await insert_ignore(connection, accounts, [asdict(Account(account=account)) | {"behind": False}])


async def matched(rig: Rig, *attempts: str) -> list[str | None]:
    """Let a linker look once for each attempt; return the grants that they found."""

    async def looked() -> bool:
        return not [attempt for attempt in await found() if not (attempt.horizon or attempt.grant)]

    async def found() -> list[Attempt]:
        return [attempt for name in attempts if (attempt := await rig.store.attempt(name))]

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, looked)
    return [attempt.grant for attempt in await found()]


@pytest.mark.parametrize("account", ODD)
async def test_an_account_is_found_whatever_it_is_called(rig: Rig, account: str) -> None:
    for number, other in enumerate([name for name in ODD if name != account]):
        await unclaimed(rig, f"{number:064}", other)
    await unclaimed(rig, "f" * 64, account)
    await rig.sign_in("t1", nonce(rig.time(), account), rig.time())
    assert await matched(rig, "t1") == ["f" * 64]


async def test_grants_of_one_microsecond_are_found_on_both_sides_of_a_pages_end(rig: Rig) -> None:
    for number in range(FIRST_PAGE + 2):
        await unclaimed(rig, f"{number:064}", f"account-{number}")
    for number in range(4):
        await rig.sign_in(f"t{number}", nonce(rig.time(number), f"account-{number}"), rig.time(number))
    assert await matched(rig, "t0", "t1", "t2", "t3") == [f"{number:064}" for number in range(4)]


async def test_every_page_of_a_pool_is_looked_through(rig: Rig) -> None:
    fresh = saga.received(code_hash="", code=b"", app="first", stranger=False, at=rig.now)
    known = replace(fresh, state="unclaimed", stage="wait", open_at=rig.now, due_at=rig.now + 1e6)
    pool = [replace(known, code_hash=f"{n:064}", account=f"account-{n}", pool=n) for n in range(FIRST_PAGE + PAGE + 1)]
    async with rig.database.begin() as connection:
        await connection.execute(insert(grants), [columns_of(grant) for grant in pool])
        named = [asdict(Account(account=grant.account)) | {"behind": False} for grant in pool if grant.account]
        await connection.execute(insert(accounts), named)
    last_of_pages = (PAGE + 1, 1, 0)
    for number in last_of_pages:
        await rig.sign_in(f"t{number}", nonce(rig.time(number / 10), f"account-{number}"), rig.time(number / 10))
    assert await matched(rig, *(f"t{number}" for number in last_of_pages)) == [f"{number:064}" for number in last_of_pages]


async def test_the_newest_grant_of_an_account_is_the_one(rig: Rig) -> None:
    for number, pool in enumerate((2, 3, 1)):
        await unclaimed(rig, f"{number:064}", "account", pool=pool)
    await rig.sign_in("t1", nonce(rig.time(), "account"), rig.time())
    assert await matched(rig, "t1") == [f"{1:064}"]


async def test_a_nonce_is_good_for_the_grant_of_its_own_app_alone(rig: Rig) -> None:
    await unclaimed(rig, "a" * 64, "account", app="next", pool=1)
    await unclaimed(rig, "b" * 64, "account", app="first", pool=2)
    await unclaimed(rig, "c" * 64, "other", app="first", pool=3)
    key = APPS["next"].hmac_key.reveal().encode()
    await rig.sign_in("t1", made.make(key, rig.time(), "account"), rig.time())
    await rig.sign_in("t2", made.make(key, rig.time(1), "other"), rig.time(1))
    assert await matched(rig, "t1", "t2") == ["a" * 64, None]


async def pooled(rig: Rig, many: int, *, app: App = "first") -> None:
    fresh = saga.received(code_hash="", code=b"", app=app, stranger=False, at=rig.now)
    known = replace(fresh, state="unclaimed", stage="wait", open_at=rig.now - 200, due_at=rig.now + 1e6)
    pool = [replace(known, code_hash=f"{n:064}", account=f"account-{n}", pool=n) for n in range(many)]
    async with rig.database.begin() as connection:
        await connection.execute(insert(grants), [columns_of(grant) for grant in pool])
        named = [asdict(Account(account=grant.account)) | {"behind": False} for grant in pool if grant.account]
        await connection.execute(insert(accounts), named)


async def test_sign_ins_that_find_nothing_leave_those_a_look_whose_grant_is_among_the_newest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pooled(rig, FIRST_PAGE + 3 * PAGE)
    deep, gate = list[str](), asyncio.Event()
    beyond = Matching._beyond

    async def slow(self: Matching, newest: Page, attempt: Attempt, wanted: str, since: float | None) -> Looked:
        deep.append(attempt.partner_user)
        await gate.wait()
        return await beyond(self, newest, attempt, wanted, since)

    monkeypatch.setattr(Matching, "_beyond", slow)
    for number in range(100):
        await rig.sign_in(f"junk{number}", nonce(rig.time(), f"nobody-{number}"), rig.time(), user="mallory")
    await rig.sign_in("other", nonce(rig.time(), "account-0"), rig.time(), user="ada")
    newest = f"account-{FIRST_PAGE + 3 * PAGE - 1}"
    await rig.sign_in("honest", nonce(rig.time(), newest), rig.time(), user="bob")
    linker = rig.linker()

    async def found(name: str) -> bool:
        return bool((attempt := await rig.store.attempt(name)) and attempt.grant)

    async with linker:
        async with asyncio.timeout(20):
            while not await found("honest"):
                await rig.turn_once(linker)
        assert sorted(deep) == ["ada", "mallory"], "one look of a user goes deeper at a time"
        gate.set()
        await rig.turn(linker, lambda: found("other"))
    attempt = await rig.store.attempt("junk99")
    assert attempt
    assert attempt.due_at is not None, "it is looked for again"


async def test_a_linker_without_an_apps_key_leaves_the_look_to_one_that_has_it(rig: Rig) -> None:
    await pooled(rig, 3, app="next")
    key = APPS["next"].hmac_key.reveal().encode()
    await rig.sign_in("t1", made.make(key, rig.time(), "account-1"), rig.time())
    linker, began = rig.linker(apps=["first"]), rig.now

    async def looked() -> bool:
        return rig.now > began + 2

    async with linker:
        await rig.turn(linker, looked)
    assert await matched(rig, "t1") == [f"{1:064}"]


async def test_grants_of_an_app_that_is_gone_for_good_do_not_keep_a_look_from_its_end(rig: Rig) -> None:
    await pooled(rig, 3, app="next")
    await rig.sign_in("t1", nonce(rig.time(), "nobody"), rig.time())
    linker = rig.linker(apps=["first"])

    async def ended() -> bool:
        return (attempt := await rig.store.attempt("t1")) is not None and attempt.state == "expired"

    async with linker:
        await rig.turn(linker, ended)
    attempt = await rig.store.attempt("t1")
    assert attempt
    assert "Ring did not let us know this account" in (attempt.reason or "")
