"""10,000 accounts whose tokens are all due at once: how long their renewal takes, and what it does to the linker's memory."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import psutil
from msgspec.structs import replace

from deploy.demo.installation import Installation
from deploy.demo.ring.ring import Ring
from linker import moves, saga, store
from linker.rows import ASIDE, Grant
from linker.vault import Vault
from schemas.records import App
from schemas.ring import api
from schemas.ring.app import named
from tests.bench.figures import Figure
from tests.bench.ground import Ground
from tests.bench.rows.links import ring_of
from workers.runtime import database
from workers.runtime.sealing import Keyring

ACCOUNTS, RATE, LONGEST_S = 10_000, 100, 220.0
OLD: Final = 2 * 3_600.0  # the tokens' age, far from their end


@dataclass(frozen=True)
class Run:
    """One renewal of all."""

    seconds: float
    busiest: int
    grown: float  # MB of resident size from the first tenth to the end


async def measure(on: Ground, _rounds: int) -> list[Figure]:
    """Return how long it took and how much the process grew; once, since it takes minutes."""
    made = await on.house()
    async with ring_of(made) as ring:
        ring.books.budget.rate = RATE
        await fill(made, ring, ACCOUNTS)
        async with made.running("linker"):
            run = await renewed(made, ring, ACCOUNTS)
    note = f"at most {run.busiest} requests in any second, of {RATE}"
    return [
        Figure(f"{ACCOUNTS:,} accounts renewed", "s", [run.seconds], 180, sense="at most", note=note),
        Figure("growth of the linker meanwhile", "MB", [run.grown], 10, sense="at most"),
    ]


async def fill(made: Installation, ring: Ring, count: int) -> None:
    """Let so many accounts be linked, with tokens of Ring's, all due."""
    vault = Vault(Keyring.parse(made.environment["RINGHOOK_VAULT_KEYS"]), made.environment["RINGHOOK_NAMESPACE"])
    now, app = time.time(), named(made.environment["RINGHOOK_RING_HMAC_KEY"].encode())
    async with database.connect(made.environment["RINGHOOK_STORE_URL"]) as opened:
        for begin in range(0, count, 1_000):
            async with opened.begin() as connection:
                for number in range(begin, min(begin + 1_000, count)):
                    await store.add_grants(connection, [linked(ring, vault, number, now, app)])


def linked(ring: Ring, vault: Vault, number: int, now: float, app: App) -> Grant:
    """Return a completed grant whose tokens Ring knows."""
    account = ring.world.add_account()
    tokens = ring.world.exchange(ring.world.confirm(account, now), now)
    code_hash = f"{number:08x}".ljust(64, "0")
    fresh = saga.received(code_hash=code_hash, code=b"", app=app, stranger=False, at=now - OLD + number / 1e6)
    given = api.Tokens(access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in)
    held = replace(moves.hold(fresh, vault.seal(fresh, given, now - OLD)), tokens_at=now - 2 * 86_400)
    done = replace(held, state="completed", stage="rest", account=account.id, partner_user=f"u-{number}", code=None)
    return replace(done, completed_at=now - OLD, due_at=now, queue=ASIDE)


async def renewed(made: Installation, ring: Ring, count: int) -> Run:
    """Wait until each has been renewed once."""
    began, early = time.time(), 0.0
    process = psutil.Process(made.roles["linker"].process.pid)
    while (done := sum(call.status == 200 for call in ring.ledger.calls)) < count:
        early = early or (done > count / 10 and process.memory_info().rss / 1e6)
        if time.time() > began + LONGEST_S:
            raise ValueError(f"only {done} of {count} were renewed within {LONGEST_S:.0f} s")
        await asyncio.sleep(0.25)
    return Run(time.time() - began, ring.ledger.busiest(), process.memory_info().rss / 1e6 - early)
