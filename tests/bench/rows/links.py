"""Whole links at 50 a second, alone and beside 500 junk codes a second: how soon a code's tokens are stored, and who completes.

A link is a code, a browser that signs in and confirms, and four requests to Ring. Its 100 requests a second would be used up by
25 links: here Ring and RINGHOOK_RING_RATE both allow 400, so that ringhook is measured, and not the limit.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from deploy.demo.installation import Installation
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Client
from deploy.local import ports
from tests.bench import ground
from tests.bench.figures import Figure
from tests.bench.ground import HERE, Ground
from tests.chaos.generator import KEY

RATE, JUNK, SECONDS, LIMIT = 50, 500, 10, 400
CONNECTIONS: Final = 32
WARMINGS: Final = 3  # at most
CALM: Final = 20  # links a second that these two cores have the time for
WHY: Final = (
    "What a link costs all processes (above) times 50 is more than two cores have: they are overrun, and codes wait for their "
    "turn; the row at 20 links/s shows it where they are not. Tried: one transaction for the steps of all links that are under "
    "way (a third less of the linker's CPU, and each link completes, beside junk too), the steps of a link in one go under one "
    "lease, statements prepared once, all who share a transaction called at once instead of in turn, several transactions side "
    "by side and announcements in larger lots (these two gained nothing)."
)
ROLES: Final = ("ingress", "linker")


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return p99 and the share of links that completed, alone and beside junk."""
    late, calm, late_beside, whole, note, note_beside = list[float](), list[float](), list[float](), list[float](), "", ""
    made = await on.house()
    async with homes(made) as control, made.running(*ROLES):
        await warm(control)
        for _ in range(rounds):
            used = on.spent_by(made)
            alone = await linked(control, RATE * SECONDS, RATE)
            late.append(percentile(alone, 99))
            note = f"p50 {percentile(alone, 50):.0f} ms; {completed(alone)}; CPU per link: {cost(used, on.spent_by(made))}"
            calm.append(percentile(await linked(control, CALM * SECONDS, CALM), 99))
            junk = asyncio.create_task(junk_for(made))
            beside = await linked(control, RATE * SECONDS, RATE)
            late_beside.append(percentile(beside, 99))
            whole.append(100 * beside["completed"] / (RATE * SECONDS))
            note_beside = f"{completed(beside)}; junk answered {(await junk)['statuses']}"
    stored = "code received → tokens stored"
    return [
        Figure(f"{stored} at {RATE} links/s, p99", "ms", late, 250, sense="at most", note=note, why=WHY),
        Figure(f"{stored} at {CALM} links/s, p99", "ms", calm, 0, sense="report"),
        Figure(f"{stored} beside {JUNK} junk codes/s, p99", "ms", late_beside, 0, sense="report"),
        Figure(f"links completed beside {JUNK} junk codes/s", "%", whole, 100, note=note_beside),
    ]


def percentile(told: dict[str, Any], percent: int) -> float:
    """Return one of the waits in milliseconds; links whose tokens nobody saw count as never."""
    waits = told["waits"] + [float("inf")] * (told["count"] - len(told["waits"]))
    return float(waits[len(waits) * percent // 100] * 1000)


def completed(told: dict[str, Any]) -> str:
    """Say how many links completed, and when the last."""
    why = f" ({', '.join(told['failed'])})" if told["failed"] else ""
    return f"{told['completed']} of {RATE * SECONDS} links completed within {told['seconds']:.1f} s of the first code{why}"


def cost(before: dict[str, float], after: dict[str, float]) -> str:
    """Say what a link cost each process."""
    ms = {name: (used - before[name]) / (RATE * SECONDS) * 1000 for name, used in after.items()}
    return ", ".join(f"{name} {each:.1f} ms" for name, each in ms.items()) + f": {sum(ms.values()):.0f} ms beside Ring and users"


@asynccontextmanager
async def homes(made: Installation) -> AsyncIterator[str]:
    """Run a simulated Ring whose partner the installation is, and its users; give the URL at which they are told to link."""
    secret, (port, ring_port) = secrets.token_urlsafe(16), ports.free(2)
    made.environment |= {f"RINGHOOK_RING_{name}_URL": f"http://127.0.0.1:{ring_port}" for name in ("API", "OAUTH")}
    made.environment |= {"RINGHOOK_EXCHANGE_SECRET": secret, "RINGHOOK_RING_RATE": str(LIMIT)}
    words = (port, ring_port, made.public, secret, KEY, made.environment["PASSCODE"], LIMIT)
    async with ground.script(HERE / "homes.py", *words):
        yield f"http://127.0.0.1:{port}/links"


async def warm(control: str) -> None:
    """Link homes until all of some do: a fresh namespace has its topics' leaders to find first."""
    for _ in range(WARMINGS):
        if (await linked(control, RATE, RATE / 5))["completed"] == RATE:
            return


async def linked(control: str, count: int, rate: float) -> dict[str, Any]:
    """Let so many homes be linked."""
    asked = {"count": str(count), "rate": str(rate)}
    async with aiohttp.ClientSession() as client, client.post(control, params=asked) as answer:
        answer.raise_for_status()
        return dict(await answer.json())


async def junk_for(made: Installation) -> dict[str, Any]:
    """Post junk for as long as links begin."""
    port = made.public.rpartition(":")[2]
    return dict(await ground.result(sys.executable, HERE / "junk.py", port, CONNECTIONS, JUNK, SECONDS))


@asynccontextmanager
async def ring_of(made: Installation) -> AsyncIterator[Ring]:
    """Run a simulated Ring in this process to which the installation is the partner."""
    secret, door = secrets.token_urlsafe(16), f"{made.public}/ring"
    partner = Partner(f"{door}/token-exchange/{secret}", f"{door}/webhook", f"{door}/account-link")
    async with running(partner, Client("chaos", "chaos-secret", KEY)) as ring:
        made.environment |= {"RINGHOOK_RING_API_URL": ring.url, "RINGHOOK_RING_OAUTH_URL": ring.url}
        made.environment |= {"RINGHOOK_EXCHANGE_SECRET": secret}
        yield ring
