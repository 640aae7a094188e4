"""Tokens come under the first key while links go on; nothing is lost on the way, whatever is killed, missing or altered."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY
from sqlalchemy import update
from structlog.testing import capture_logs

from linker.held import columns_of
from linker.reseal import PAUSE, REST, Reseal, check, yields
from linker.rows import Grant
from linker.sealed import Key, Sealed
from linker.tables import grants, keys
from linker.vault import Vault
from schemas.errors import Misconfigured
from schemas.records import App
from tests.linker.rig import VAULT, Rig
from tests.linker.ring import nonce
from workers.runtime.sealing import KeyMissing, Keyring, generate_key

NEW = generate_key("k2")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def vault(*ring: str) -> Vault:
    return Vault(Keyring.parse(",".join(ring)), "test")


def reseal(rig: Rig, *ring: str, chunk: int = 100) -> Reseal:
    return Reseal(Sealed(rig.database), vault(*ring), chunk)


async def linked(rig: Rig, count: int, first: int = 0) -> list[Grant]:
    """Let accounts come as far as unclaimed; return their rows in the order of the sweep."""
    codes = [await rig.code(f"acct-{number}") for number in range(first, first + count)]
    linker = rig.linker()

    async def open_now() -> bool:
        return all(grant.state == "unclaimed" for grant in await rig.grants(*codes))

    async with linker:
        await rig.turn(linker, open_now)
    return sorted(await rig.grants(*codes), key=lambda grant: grant.code_hash)


async def change(rig: Rig, grant: Grant, **values: object) -> None:
    async with rig.database.begin() as connection:
        await connection.execute(update(grants).where(grants.c.code_hash == grant.code_hash).values(**values))


def figure(key: str) -> float | None:
    return REGISTRY.get_sample_value("ringhook_vault_rows", {"key": key})


def only_new_opens(before: Grant, after: Grant) -> bool:
    """Say whether the same tokens open in the row by the new key alone, and what stood there before by none."""
    old, new = vault(VAULT), vault(NEW)
    same = [old.open(before, column) == new.open(after, column) for column in ("access", "refresh")]
    pasted = replace(after, access=before.access, refresh=before.refresh)
    return all(same) and vault(NEW, VAULT).shut(pasted, "access") is not None


async def test_every_token_comes_under_the_first_key_and_then_the_sweep_rests(rig: Rig) -> None:
    before = await linked(rig, 5)
    sweep = reseal(rig, NEW, VAULT, chunk=2)
    pauses = [await sweep(NOW) for _ in range(3)]
    assert pauses[:2] == [PAUSE, PAUSE]
    assert PAUSE < pauses[2] < REST
    after = await rig.grants(*(grant.code_hash for grant in before))
    assert all(only_new_opens(one, other) for one, other in zip(before, after, strict=True))
    assert [(other.writes, other.counter) for other in after] == [(one.writes + 1, one.counter + 1) for one in before]
    assert await sweep(NOW) == REST
    assert await Sealed(rig.database).in_use() == ["k2"]
    assert (figure("older"), figure("missing")) == (0, 0)


async def test_a_row_that_a_step_holds_or_whose_request_is_under_way_is_left_for_later(rig: Rig) -> None:
    leased, intent, free = await linked(rig, 3)
    await change(rig, leased, lease_until=4e9, lease_owner="somebody")
    await change(rig, intent, stage="refreshing")
    sweep = reseal(rig, NEW, VAULT)
    await sweep(NOW)
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": 2, "k2": 1}
    await change(rig, leased, lease_until=None, lease_owner=None)
    await change(rig, intent, stage="wait")
    await sweep(NOW)
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": 0, "k2": 3}
    assert only_new_opens(free, (await rig.grants(free.code_hash))[0])


async def test_tokens_that_come_after_their_renewal_was_given_up_are_kept_while_everything_is_sealed_again(rig: Rig) -> None:
    [grant] = await linked(rig, 1)
    rig.vault, sweep = vault(NEW, VAULT), reseal(rig, NEW, VAULT)

    class Paused:
        """Ring's answer comes so late that the lease is over, somebody else has looked, and the keys have changed."""

        timeout, longest = rig.api.timeout, rig.api.longest

        async def refresh(self, app: App, token: str, within: float) -> object:
            answer = await rig.api.refresh(app, token, within)
            if rig.ring.count("refresh") == 1:
                await rig.let_leases_end()
                async with rig.linker() as other:
                    await rig.turn(other, given_up)
                await sweep(NOW)
            return answer

    async def given_up() -> bool:
        [found] = await rig.grants(grant.code_hash)
        return found.settles_at is not None

    async def over() -> bool:
        [found] = await rig.grants(grant.code_hash)
        return rig.ring.count("refresh") > 0 and found.stage in {"wait", "rest"} and found.settles_at is None

    async with rig.linker(api=Paused()) as slow:
        await rig.turn(slow, over)
    [kept] = await rig.grants(grant.code_hash)
    assert (kept.state, kept.risk, rig.vault.open(kept, "refresh")) == ("unclaimed", None, rig.ring.world.grants[0].refresh)
    assert await Sealed(rig.database).in_use() == ["k2"]


async def test_an_altered_row_stays_as_it_is_and_stops_no_other(rig: Rig) -> None:
    altered, *others = await linked(rig, 3)
    access = altered.access or b""
    await change(rig, altered, access=access[:-1] + bytes([access[-1] ^ 1]))
    sweep = reseal(rig, NEW, VAULT, chunk=1)
    with capture_logs() as lines:
        for _ in range(4):
            await sweep(NOW)
    assert [line["grant"] for line in lines if line["event"] == "vault.shut"] == [altered.code_hash[:12]]
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": 1, "k2": len(others)}
    assert (await rig.grants(altered.code_hash))[0].refresh == altered.refresh


async def test_a_key_that_is_missing_is_named_once_and_its_tokens_wait(rig: Rig) -> None:
    (grant,) = await linked(rig, 1)
    gone = reseal(rig, NEW)
    with capture_logs() as lines:
        assert [await gone(NOW), await gone(NOW)] == [REST, REST]
    assert [(line["event"], line["key"], line["rows"]) for line in lines] == [("vault.key_missing", "k1", 1)]
    assert figure("missing") == 1
    assert await rig.grants(grant.code_hash) == [grant]
    with pytest.raises(KeyMissing, match="'k1'"):
        vault(NEW).open(grant, "access")
    gone.vault = vault(NEW, VAULT)
    with capture_logs() as lines:
        await gone(NOW)
    assert [line["event"] for line in lines] == ["vault.key_back", "vault.resealed"]


async def test_other_bytes_under_a_known_id_are_refused_before_anything_is_touched(rig: Rig) -> None:
    (grant,) = await linked(rig, 1)
    wrong = generate_key("k1")
    with pytest.raises(Misconfigured, match="'k1' is not the key"):
        await check(Sealed(rig.database), vault(wrong))  # no proof yet: a row tells
    await check(Sealed(rig.database), vault(VAULT))
    async with rig.database.begin() as connection:
        await connection.execute(grants.delete())
    with pytest.raises(Misconfigured, match="'k1' is not the key"):
        await reseal(rig, NEW, wrong)(NOW)  # no row any more: the proof tells
    assert wrong.partition(":")[2] not in str(await Sealed(rig.database).known())
    assert grant.access is not None


class Killed(BaseException):
    """What kill -9 is to a coroutine."""


class Mortal(Vault):
    """A vault in whose use, at one row, the process dies."""

    lives = 0

    def resealed(self, grant: Grant) -> Grant:
        object.__setattr__(self, "lives", self.lives - 1)
        if self.lives < 0:
            raise Killed
        return super().resealed(grant)


@pytest.mark.parametrize("at", range(4))
async def test_killed_in_the_middle_of_a_chunk_every_token_still_opens(rig: Rig, at: int) -> None:
    before = await linked(rig, 4)
    mortal = Mortal(Keyring.parse(f"{NEW},{VAULT}"), "test")
    object.__setattr__(mortal, "lives", at)
    sweep = Reseal(Sealed(rig.database), mortal, 2)
    with pytest.raises(Killed):
        await forever(sweep)
    after = await rig.grants(*(grant.code_hash for grant in before))
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": 4 - at // 2 * 2, "k2": at // 2 * 2}
    for one, other in zip(before, after, strict=True):
        assert vault(NEW, VAULT).open(other, "refresh") == vault(VAULT).open(one, "refresh")
    await reseal(rig, NEW, VAULT)(NOW)
    assert await Sealed(rig.database).in_use() == ["k2"]


async def forever(sweep: Reseal) -> None:
    while True:
        await sweep(NOW)


async def test_links_complete_while_everything_is_sealed_again(rig: Rig) -> None:
    await linked(rig, 12)
    rig.vault = vault(NEW, VAULT)
    times = {f"acct-{number}": rig.time() for number in range(18)}
    for account, time in times.items():
        if int(account[5:]) >= 12:  # those that nobody has linked yet
            await rig.code(account)
        await rig.sign_in(f"t-{account}", nonce(time, account), time)
    linker, sweep, done = rig.linker(), reseal(rig, NEW, VAULT, chunk=3), asyncio.Event()

    async def again_and_again() -> None:
        while not done.is_set():  # noqa: ASYNC110 - it works all the while
            await asyncio.sleep(min(await sweep(NOW), timedelta(milliseconds=1)).total_seconds())

    async def completed() -> bool:
        return all(rig.ring.standing(account) == "completed" for account in times)

    sealing = asyncio.create_task(again_and_again())
    async with linker:
        await rig.turn(linker, completed, turns=3_000)
    done.set()
    await sealing
    assert await Sealed(rig.database).in_use() == ["k2"]
    assert rig.ring.ledger.codes_sent_twice() == []
    for grant in await rig.grants(*await all_codes(rig)):
        assert {vault(NEW).open(grant, "access"), vault(NEW).open(grant, "refresh")} <= {*rig.ring.made}


async def all_codes(rig: Rig) -> list[str]:
    async with rig.database.read() as connection:
        return [*(await connection.execute(grants.select().with_only_columns(grants.c.code_hash))).scalars()]


def ages(began: float | None, seen: float | None) -> Callable[[str], Key]:
    return lambda name: Key(name, b"", began, seen)


@pytest.mark.parametrize(
    ("mine", "other", "expected"),
    [
        (ages(100.0, 1.0), ages(50.0, 1.0), True),  # linkers with the other key came later: theirs is the newer configuration
        (ages(50.0, 1.0), ages(100.0, 1.0), False),
        (ages(100.0, 1.0), ages(50.0, 120.0), False),  # they are gone
        (ages(100.0, 1.0), ages(None, None), False),  # it only opens
        (ages(100.0, 1.0), ages(50.0, None), False),  # whoever is alone said that nobody uses it
    ],
)
def test_in_mid_deploy_those_with_the_older_configuration_leave_the_others_rows_alone(
    mine: Callable[[str], Key],
    other: Callable[[str], Key],
    expected: bool,  # noqa: FBT001
) -> None:
    assert yields("k1", {"k1": mine("k1"), "k2": other("k2")}) is expected


async def test_two_linkers_in_mid_deploy_do_not_seal_against_each_other(rig: Rig) -> None:
    before = await linked(rig, 2)
    old, new = reseal(rig, VAULT, NEW), reseal(rig, NEW, VAULT)
    await old(NOW)
    await asyncio.sleep(0.01)  # the store's clock is what tells them apart
    await new(NOW)
    assert await old(NOW) == REST
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": 0, "k2": len(before)}
    async with rig.database.begin() as connection:
        await connection.execute(update(keys).where(keys.c.key == "k2").values(seen_at=0.0))
    await old(NOW)  # the deploy was taken back
    assert await Sealed(rig.database).counts(["k1", "k2"]) == {"k1": len(before), "k2": 0}


def test_a_row_is_told_to_the_store_with_the_key_that_sealed_it() -> None:
    grant = Grant(app="first", code_hash="0", received_at=1.0, generation=1, due_at=None)
    sealed = replace(grant, refresh=Keyring.parse(NEW).seal(b"token", ()))
    assert [columns_of(each)["sealed_with"] for each in (grant, sealed)] == [None, "k2"]
