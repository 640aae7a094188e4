"""What Ring said, or where it was sought, stands on no user's page: the linker's words, as ingress tells them."""

from collections.abc import Iterator
from itertools import product
from typing import get_args

from msgspec.structs import replace

from ingress.link.words import plain
from linker import saga
from linker.outcomes import NotSent, Outcome, Refused, Unauthorised, Unclear
from linker.progress import seen
from linker.ringapi import unreached
from linker.rows import AttemptSteps, Grant, Stage
from linker.saga import Move
from schemas.findings.trying import OURS
from schemas.records import LinkState

NOW, DAY = 1_000_000.0, 86_400.0
SAID = (
    "400 canary (of) it) · canary: tap",
    unreached("https://canary.example.com/canary", OSError("canary")),
    f"{OURS}sealed with key 'canary', which is not configured (only canary): put it back",
)
LATER = (0.0, 1.0, 700.0, 5 * DAY, 31 * DAY)
STATES: tuple[LinkState, ...] = ("received", "unclaimed", "claimed", "awaiting", "completed")


def outcomes(said: str) -> tuple[Outcome, ...]:
    refusals = Refused(words=said), Refused(words=said, stale=True), Refused(words=said, past=True, stale=True)
    return (
        *refusals,
        Refused(words=said, doubtful=True),
        Refused(words=said, client=True),
        Unauthorised(words=said),
        NotSent(words=said),
        Unclear(words=said),
    )


def grants() -> Iterator[Grant]:
    plain_one = Grant(code_hash="ab" * 32, app="first", received_at=NOW, generation=1, due_at=NOW, attempt="t1", tokens_at=NOW)
    for stage, state, posts, renewed, patched in product(get_args(Stage), STATES, (1, 2), (False, True), (False, True)):
        account = None if stage in {"exchange", "exchanging", "identify"} else "acct-1"
        until = NOW + 600 if account and stage not in {"wait", "rest"} else None
        counts = {"posts": posts, "renewed": renewed, "patched": patched}
        yield replace(plain_one, stage=stage, state=state, account=account, nonce_until=until, resume="post", **counts)


def moves(grant: Grant, said: str) -> Iterator[Move]:
    """Return what an outcome makes of a grant, and what time makes of that."""
    for outcome in outcomes(said):
        ended = saga.end(grant, outcome, NOW)
        yield ended
        yield from (saga.begin(ended.grant, NOW + later) for later in LATER)


def findings(move: Move) -> Iterator[str]:
    """Return what the page may tell of it: what the sign-in learnt, or what its grant says."""
    verdict = move.verdict.reason if move.verdict else None
    for told, now in product((verdict, None), (NOW, NOW + 700.0)):
        attempt = AttemptSteps(attempt="t1", partner_user="u1", state="claimed", reason=told, marks=(("signed in", NOW),))
        progress = seen(attempt, move.grant, now)
        yield from [progress.finding] if progress.finding else []


def test_nothing_that_ring_said_nor_where_it_was_sought_reaches_a_users_page() -> None:
    told = {finding for said in SAID for grant in grants() for move in moves(grant, said) for finding in findings(move)}
    assert any("canary" in finding for finding in told), "operators are told it"
    assert [finding for finding in sorted(told) if "canary" in (plain(finding) or "")] == []
