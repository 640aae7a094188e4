"""How soon a code's tokens are stored at 50 links a second, alone and beside 500 junk codes a second on the plain path.

Judged at the simulated Ring: once `GET users/me` comes with a code's tokens, they stand in the store.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from deploy.demo.installation import Installation
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Client
from tests.bench.figures import Figure
from tests.bench.ground import Ground
from tests.chaos.generator import KEY

RATE, JUNK, SECONDS, SETTLE_S = 50, 500, 10, 30.0
LIMIT: Final = 1_000  # requests a second that Ring allows here: ringhook keeps to its 100, which 50 links/s use up


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return p99 and the share of codes whose tokens came to be stored, alone and beside junk."""
    late, held, note = list[float](), list[float](), ""
    made = await on.house()
    async with ring_of(made) as ring, made.running("ingress", "linker"):
        await warm(ring)
        for _ in range(rounds):
            waits = await codes(ring, RATE * SECONDS)
            late.append(waits[len(waits) * 99 // 100] * 1000)
            note = f"p50 {waits[len(waits) // 2] * 1000:.0f} ms"
            junk = asyncio.create_task(junk_for(ring, SECONDS))
            beside = await codes(ring, RATE * SECONDS)
            held.append(100 * len(beside) / (RATE * SECONDS))
            note_beside = f"{await junk} junk codes; p99 {beside[len(beside) * 99 // 100] * 1000:.0f} ms"
    return [
        Figure(f"code received → tokens stored at {RATE} links/s, p99", "ms", late, 250, sense="at most", note=note),
        Figure(f"codes traded beside {JUNK} junk codes/s", "%", held, 100, note=note_beside),
    ]


@asynccontextmanager
async def ring_of(made: Installation) -> AsyncIterator[Ring]:
    """Run a simulated Ring to which the installation is the partner."""
    secret, door = secrets.token_urlsafe(16), f"{made.public}/ring"
    partner = Partner(f"{door}/token-exchange/{secret}", f"{door}/webhook", f"{door}/account-link")
    async with running(partner, Client("chaos", "chaos-secret", KEY)) as ring:
        ring.books.budget.rate = LIMIT
        made.environment |= {"RINGHOOK_RING_API_URL": ring.url, "RINGHOOK_RING_OAUTH_URL": ring.url}
        made.environment |= {"RINGHOOK_EXCHANGE_SECRET": secret}
        yield ring


async def warm(ring: Ring) -> None:
    """Return once codes are taken: a fresh namespace has its topics' leaders to find first."""
    deadline = time.time() + SETTLE_S
    while await ring.connect(ring.world.add_account()) != 200 and time.time() < deadline:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.5)
    await codes(ring, 20)


async def codes(ring: Ring, count: int) -> list[float]:
    """Send codes in an open loop; return the seconds from each POST to the first call with its tokens, sorted."""
    sent, first, posts = dict[str, float](), len(ring.ledger.calls), list[asyncio.Task[int | None]]()
    began = time.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / RATE - time.time()))
        account = ring.world.add_account()
        sent[account.id] = time.time()
        posts.append(asyncio.create_task(ring.connect(account)))
    statuses = await asyncio.gather(*posts)
    if wrong := [status for status in statuses if status != 200]:
        raise ValueError(f"{len(wrong)} codes were not taken: {set(wrong)}")
    deadline = time.time() + SETTLE_S
    while len(known := _asked(ring, first, sent)) < count and time.time() < deadline:  # noqa: ASYNC110 - another process calls
        await asyncio.sleep(0.1)
    return sorted(at - sent[account] for account, at in known.items())


def _asked(ring: Ring, first: int, sent: dict[str, float]) -> dict[str, float]:
    calls = [call for call in ring.ledger.calls[first:] if call.path == "/v1/users/me" and call.account in sent]
    return {str(call.account): call.at for call in reversed(calls)}


async def junk_for(ring: Ring, seconds: float) -> int:
    """Post codes that Ring never gave, on the path for strangers; return how many were answered."""
    url, began, number, answered = ring.partner.token_exchange_url.rpartition("/")[0], time.time(), 0, 0

    async def post() -> None:
        nonlocal answered
        answered += await ring.post_code(secrets.token_urlsafe(24), url=url) is not None

    async with asyncio.TaskGroup() as posts:
        while (now := time.time()) < began + seconds:
            while number < (now - began) * JUNK:
                posts.create_task(post())
                number += 1
            await asyncio.sleep(0.01)
    return answered
