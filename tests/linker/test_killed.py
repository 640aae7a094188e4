"""Kill the linker at every await of its shell: a fresh one on the same store ends each link completed, or lost where it must."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from linker.store import Store
from tests.linker.rig import Rig
from tests.linker.ring import nonce

Point = tuple[str, int]  # before or after which call on the store or on Ring, and the how manieth


class Killed(BaseException):
    """What kill -9 is to a coroutine."""


class Fuse:
    """Sees every await on the store and on Ring, as it begins and as it has ended; from `at` on nothing happens any more."""

    def __init__(self, at: Point | None = None) -> None:
        self.at, self.blown = at, False
        self.seen: Counter[str] = Counter()
        self.passed: list[Point] = []

    def burn(self, where: str) -> None:
        self.seen[where] += 1
        self.passed.append((where, self.seen[where]))
        self.blown = self.blown or (where, self.seen[where]) == self.at
        if self.blown:
            raise Killed(where)


class Fused:
    """A collaborator whose every call may be the last thing that happens."""

    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        return self._wrap(found, name) if callable(found) else found

    def _wrap(self, call: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def fused(*given: object, **named: object) -> object:
            self._fuse.burn(f"before {name}")
            result = await call(*given, **named)
            self._fuse.burn(f"after {name}")
            return result

        return fused


async def begin(rig: Rig, number: int, faults: dict[str, list[int | str]], fuse: Fuse) -> str:
    """Let a link run until it has completed or the fuse blows."""
    account = f"acct-{number}"
    code = await rig.code(account, f"canary-code-{number}")
    await rig.sign_in(f"t{number}", nonce(rig.time(), account), rig.time())
    for call, found in faults.items():
        rig.ring.spoil(call, *found)
    try:
        linker = rig.linker(store=Fused(Store(rig.database), fuse), api=Fused(rig.api, fuse))
        await rig.state(linker, code, "completed")
    except BaseException as error:
        if not is_kill(error):
            raise
    rig.ring.calm()
    return code


def is_kill(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(is_kill(inner) for inner in error.exceptions)
    return isinstance(error, Killed)


async def resume(rig: Rig, code: str) -> None:
    """Start a fresh linker once the dead one's leases are over, and let it end the link."""

    async def over() -> bool:
        await rig.let_leases_end()  # also of a step that met a busy store
        [grant] = await rig.grants(code)
        return grant.stage == "rest" and grant.state in {"completed", "lost"}

    await rig.let_leases_end()
    rig.now += 20
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, over)


FAULTS: dict[str, dict[str, list[int | str]]] = {
    "smooth": {},
    "post-cut": {"post": ["cut"]},
    "post-502": {"post": [502]},
    "patch-cut": {"patch": ["cut"]},
    "renewed": {"identify": [403]},
}
SPOILED = {"post-cut": "claim", "post-502": "claim", "patch-cut": "complete", "renewed": "identify"}
# Where the contract says that it cannot resume: the intent to send the code is written, and its outcome is not.
CANNOT_RESUME = {("after intend", 1), ("before exchange", 1), ("after exchange", 1)}


@pytest.mark.parametrize("faults", FAULTS)
async def test_a_linker_killed_at_any_await_is_resumed_by_the_next(rig: Rig, faults: str) -> None:
    rig.ring.world.patch_again = faults == "smooth"  # both have been seen
    rig.ring.world.shape = "flat" if faults == "smooth" else "jsonapi"
    unharmed = Fuse()
    await begin(rig, 0, FAULTS[faults], unharmed)
    looks = 2 if faults == "smooth" else 0
    points = [(where, n) for where, n in unharmed.passed[news(unharmed, faults) :] if n <= most(where, looks)]
    assert len(points) > (40 if faults == "smooth" else 6)
    lost: set[Point] = set()
    for number, point in enumerate(points, start=1):
        rig.now += 1_000
        renewals = rig.ring.count("refresh")
        code = await begin(rig, number, FAULTS[faults], Fuse(point))
        [killed] = await rig.grants(code)
        rotated = killed.stage == "refreshing" and rig.ring.count("refresh") > renewals  # the new tokens died with the linker
        await resume(rig, code)
        [grant] = await rig.grants(code)
        progress = await rig.explain.progress(f"t{number}")
        assert progress is not None
        assert (grant.state == "lost") == (killed.stage == "exchanging" or rotated), point
        if grant.state == "lost":
            assert ("does not renew" if rotated else "never sent twice") in (grant.reason or "")
            lost.add(point)
        else:
            assert (grant.state, grant.partner_user, progress.state) == ("completed", "u1", "completed"), point
            assert rig.ring.standing(f"acct-{number}") == "completed"
    assert lost >= CANNOT_RESUME.intersection(points)
    judge(rig)


def news(unharmed: Fuse, faults: str) -> int:
    """Return the place of the first point that the smooth way has not: up to the spoiled call both are one way."""
    return 0 if faults == "smooth" else unharmed.passed.index((f"before {SPOILED[faults]}", 1))


def most(where: str, looks: int) -> int:
    """Return how many times of a call are points: all that write or reach Ring, and the first `looks` of those that only look."""
    return looks if where.split()[1] in {"next_due", "take_grants", "take_attempts", "page", "newest", "grant", "attempt"} else 8


def judge(rig: Rig) -> None:
    """No code was sent twice, and no POST repeated before a PATCH had shown that the last one never came."""
    assert rig.ring.ledger.codes_sent_twice() == []
    for account, calls in rig.ring.by_account.items():
        posted = False
        for call, _nonce in calls:
            assert not (call == "post" and posted), account
            posted = call == "post" if call in {"post", "patch"} else posted
