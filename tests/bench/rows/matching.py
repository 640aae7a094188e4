"""A nonce's look for its grant among many unclaimed ones, beside a bare loop of as many HMACs; what the event loop feels."""

import asyncio
import gc
import hmac
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Text, cast, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy import migrations
from linker import claims, saga, store
from linker.matching import Matching
from linker.rows import Attempt
from linker.store import Store
from linker.tables import grants
from schemas.records import App
from schemas.ring import nonce
from tests.bench.figures import Figure
from tests.bench.ground import Ground
from workers.runtime import database
from workers.runtime.sealing import CodeOpener, generate_code_keys
from workers.runtime.secrets import Secret

KEY: Final = b"bench-hmac-key"
FEW, MANY = 10_000, 1_000_000
CHUNK: Final = 100_000  # grants that one transaction writes
LOOKS: Final = 5
AT: Final = 1_771_130_906.0
TIME: Final = str(int(AT * 1000))
LONG: Final = "ava1.ring.account." + "A" * 74  # ids are about a hundred characters long


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return, for each engine, the ratio at 10,000, and what 1,000,000 do to the newest-first case and to the event loop."""
    small = f"sqlite:///{on.scratch()}/few.db", f"sqlite:///{on.scratch()}/many.db"
    large = await on.database(), await on.database()
    return await _measured("SQLite", *small, rounds) + await _measured("PostgreSQL", *large, rounds)


async def _measured(engine: str, few_url: str, many_url: str, rounds: int) -> list[Figure]:
    async with pool(few_url, FEW) as few, pool(many_url, MANY) as many:
        calm_collector()
        ours, bare = list[float](), list[float]()
        newest, blocked, own, oldest = list[float](), list[float](), list[float](), list[float]()
        for _ in range(rounds):
            bare.append(_bare(FEW))
            ours.append(min([await _look(few, 0) for _ in range(LOOKS)]))
            newest.append(sorted([await _look(many, MANY - 1) for _ in range(20)])[10])
            felt = await _felt(_look(many, 0))
            blocked.append(felt.late)
            own.append(felt.own)
            oldest.append(felt.took)
    slow = f"the oldest of all is found within {max(oldest) / 1000:.1f} s; longest work of its own thread {max(own):.1f} ms"
    return [
        Figure(f"nonce among 10,000 in {engine} / bare loop", "ms", ours, 1.5, bare, sense="at most", note="the last one hits"),
        Figure(f"nonce among 1,000,000 in {engine}, of the newest", "ms", newest, 5, sense="at most", note="median of 20 looks"),
        Figure(f"event loop held up by a look through 1,000,000 in {engine}", "ms", blocked, 20, sense="at most", note=slow),
    ]


class Felt(NamedTuple):
    """What a look did to the event loop, in ms: the latest that a sleeper woke, the longest work of its thread, the look."""

    late: float
    own: float
    took: float


def calm_collector() -> None:
    """Do as every role does once it is built (`deploy/roles.py`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def account(number: int) -> str:
    """Return an account's id."""
    return LONG + str(10_000_000 + number)


@asynccontextmanager
async def pool(url: str, count: int) -> AsyncIterator[Matching]:
    """Give a linker's matching over a new store with so many unclaimed grants."""
    await migrations.upgrade(url)
    async with database.connect(url) as opened:
        for begin in range(0, count, CHUNK):
            async with opened.begin() as connection:
                await fill(connection, begin, min(begin + CHUNK, count))
        keys: dict[App, Secret] = {"first": Secret(KEY.decode())}
        opener = CodeOpener(generate_code_keys()[1])
        yield Matching(Store(opened), opener, keys, Nobody(), time.time)


class Nobody:
    """Is told of proofs."""

    def proven(self, kind: object) -> None:
        """Let it be."""


async def fill(connection: AsyncConnection, begin: int, end: int) -> None:
    """Let the grants of these numbers be unclaimed, the lower the older."""
    one = saga.received(code_hash=str(begin), code=b"", app="first", stranger=False, at=AT)
    one = replace(one, state="unclaimed", stage="wait", account=account(begin), pool=begin, open_at=AT, due_at=AT + 1e9)
    await store.add_grants(connection, [one])
    numbers = select(literal(begin + 1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < end - 1))
    name = cast(numbers.c.n + 10_000_000, Text)
    own: dict[str, Any] = {"code_hash": name, "account": LONG + name, "pool": numbers.c.n, "generation": numbers.c.n}
    columns = [own.get(column.name, column) for column in grants.c]
    rows = select(*columns).select_from(grants).join(numbers, grants.c.code_hash == str(begin))
    await connection.execute(insert(grants).from_select([column.name for column in grants.c], rows))


async def _look(matching: Matching, number: int) -> float:
    """Return the milliseconds of one look for the grant of that number."""
    wanted = nonce.make(KEY, TIME, account(number))
    attempt: Attempt = claims.requested(attempt="t", nonce_hash="n", secret=b"", time=TIME, partner_user="u", at=AT)
    began = time.perf_counter()
    found = await matching._find(attempt, wanted)
    took = (time.perf_counter() - began) * 1000
    if found is None:
        raise ValueError(f"grant {number} was not found")
    return took


def _bare(count: int) -> float:
    """Return the milliseconds of as many HMACs in a plain loop, compared in constant time."""
    accounts: Sequence[str] = [account(number) for number in range(count)]
    wanted = b"0" * 32
    best = float("inf")
    for _ in range(LOOKS):
        began = time.perf_counter()
        for name in accounts:
            hmac.compare_digest(hmac.digest(KEY, f"{TIME}:{name}".encode(), "sha256"), wanted)
        best = min(best, time.perf_counter() - began)
    return best * 1000


async def _felt(look: Coroutine[Any, Any, float]) -> Felt:
    looking, late, own = asyncio.create_task(look), 0.0, 0.0
    while not looking.done():
        began, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        late = max(late, time.perf_counter() - began - 0.001)
        own = max(own, time.thread_time() - worked)
    return Felt(late * 1000, own * 1000, await looking)
