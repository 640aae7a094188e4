"""Draws linker/saga.md by walking the saga's pure transitions. `python -m tests.linker.picture` renews it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from linker import claims, refresh, saga, schedule
from linker.moves import KEPT, given_up_at
from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ENDED, Attempt, Grant
from linker.saga import Move, Verdict

PAGE: Final = Path(__file__).parents[2] / "linker" / "saga.md"
AT: Final = 1_771_130_906.0
LONG: Final = KEPT + schedule.NONCE_LIFE + 1
LEAPS: Final = (0.0, 20.0, schedule.CODE_LAST + 1, schedule.NONCE_LIFE + 1, refresh.UNTAKEN + 1, 14_500.0, refresh.EVERY, LONG)
CALLS: Final = {
    "exchange": "POST code",
    "identify": "GET users/me",
    "post": "POST nonce",
    "patch": "PATCH completed",
    "refresh": "refresh",
    "devices": "GET devices",
}
ANSWERS: Final[dict[str, Outcome]] = {
    "2xx": Done(),
    "no": Refused(words="no"),
    "no, stale": Refused(words="no", stale=True),
    "no, of a gate": Refused(words="no", doubtful=True),
    "401": Unauthorised(words="401"),
    "not sent": NotSent(words="no connection"),
    "no clear answer": Unclear(words="timeout"),
}
# The transitions that are walked; what is postponed, or was not sent after all, stays where it is.
WALKED: Final = {
    "begin",
    "end",
    "claimed",
    "unclaimed",
    "inherited",
    "removed",
    "withdrawn",
    "unwelcome",
    "late",
    "postponed",
    "unsent",
    "wanted",
    "lost",
}
UNDER_WAY: Final = ("received", "claimed", "awaiting")  # of an attempt
GRANTS: Final = ("received", "exchanged", "unclaimed", "claimed", "awaiting", "completed")


class Step(NamedTuple):
    """One transition: from where, why, to where."""

    state: str
    stage: str
    cause: str
    to_state: str
    to_stage: str
    taught: str | None = None  # what the grant's attempt learns


class At(NamedTuple):
    """A grant at a time."""

    grant: Grant
    now: float


@dataclass
class Walk:
    """Every transition of a grant that can be reached from `received`."""

    steps: set[Step] = field(default_factory=set)
    grants: list[Grant] = field(default_factory=list)

    def run(self) -> "Walk":
        """Walk until nothing new is found."""
        received = saga.received(code_hash="0" * 64, code=b"c", app="first", stranger=False, at=AT)
        waiting, known = [At(received, AT)], set[tuple[object, ...]]()
        while waiting:
            here = waiting.pop()
            if (key := _key(here)) in known:
                continue
            known.add(key)
            self.grants.append(here.grant)
            waiting += [At(here.grant, here.now + leap) for leap in LEAPS if here.now < AT + 2 * LONG]
            waiting += self._from(here)
        return self

    def _from(self, here: At) -> Iterator[At]:
        for before, cause, move in (*_due(here), *_acts(here)):
            after = move.grant
            stages = (saga.plain(before.stage), saga.plain(after.stage))
            taught = move.verdict.state if move.verdict else None
            self.steps.add(Step(before.state, stages[0], cause, after.state, stages[1], taught))
            yield At(after, here.now)


def _due(here: At) -> Iterator[tuple[Grant, str, Move]]:
    """Take the row up where it is due: what becomes of it without a call, or by each answer, or where the linker dies."""
    grant, now = here
    if grant.due_at is None or grant.due_at > now:
        return
    taken = replace(grant, begun=min(grant.begun + 1, 2))
    move = saga.begin(taken, now)
    if move.call is None:
        yield grant, _lapsed(grant, now), move
        return
    died = replace(move.grant, begun=taken.begun)
    again = saga.begin(replace(died, begun=2), now)
    if again.call is None:
        yield grant, "the linker died in mid-call", again
    yield grant, "the linker died in mid-call", Move(died)
    for said, outcome in ANSWERS.items():
        yield grant, f"{CALLS[move.call]} → {said}", saga.end(move.grant, _full(move, outcome, now), now)


def _acts(here: At) -> Iterator[tuple[Grant, str, Move]]:
    """Let happen what a user does, or another grant of the account."""
    grant, now = here
    stands = grant.state == "completed" and not schedule.linking(grant)
    if stands or (grant.state == "unclaimed" and grant.pool is not None):
        until = now + schedule.NONCE_LIFE
        named = saga.claimed(grant, attempt="t", partner_user="u", nonce_until=until, now=now)
        yield grant, "a sign-in of its own user names it" if stands else "a sign-in names this account", named
    if grant.state == "unclaimed" and grant.stage == "wait":
        link = replace(grant, state="completed", attempt="t", partner_user="u")
        yield grant, "a sign-in that was for it is completed by an older link's tokens", saga.inherited(grant, link, now)
    if grant.state in {"claimed", "awaiting"} or (grant.state == "completed" and not stands):
        yield grant, "two users confirmed one sign-in", saga.unclaimed(grant, Verdict("contested", "two"), now)
    yield from _told(here)


def _told(here: At) -> Iterator[tuple[Grant, str, Move]]:
    """Let happen what Ring, an operator or a service does."""
    grant, now = here
    if grant.account and grant.state not in ENDED:
        if grant.withdrawn_at is None:
            yield grant, "Ring tells that the user removed the app", saga.withdrawn(grant, now + 1, now)
        yield grant, "a newer link of the account replaced it", saga.removed(grant, "replaced", now)
        yield grant, "the store was restored to before its link", refresh.lost(grant, "lost_restored", "restored", now)
    if grant.state == "completed" and (renewing := refresh.wanted(grant, now)):
        yield grant, "somebody asks the broker for a token", renewing
    if grant.state == "exchanged" and grant.stage == "identify":
        yield grant, "its account was forgotten", saga.unwelcome(grant, now)
    if grant.account and grant.state == "lost":
        yield grant, "Ring tells that the user removed the app", saga.withdrawn(grant, now + 1, now)
    if grant.state == "lost" and grant.account is None:
        tokens = Tokens(access=b"a", refresh=b"r", writes=grant.writes + 1, given_at=now, expires_at=now + 14_400)
        if move := saga.late(replace(grant, stage="exchanging"), grant, Done(tokens=tokens), now):
            yield grant, "the answer was written late after all", move


def _full(move: Move, outcome: Outcome, now: float) -> Outcome:
    if not isinstance(outcome, Done):
        return outcome
    tokens = Tokens(access=b"a", refresh=b"r", writes=move.grant.writes + 1, given_at=now, expires_at=now + 14_400)
    return {"exchange": Done(tokens=tokens), "refresh": Done(tokens=tokens), "identify": Done(account="acct")}.get(
        str(move.call), outcome
    )


def _lapsed(grant: Grant, now: float) -> str:  # noqa: PLR0911 - a table: one line, one cause
    """Say why a due row moves on without a call."""
    if saga.plain(grant.stage) != grant.stage:
        return "the linker died in mid-call"
    if schedule.to_post(grant) and now > schedule.posted_until(grant):
        return "the nonce's 10 minutes are over"
    if grant.look_at is not None and grant.look_at <= now and grant.stage != "look":
        return "a removal that was told is looked into"
    if grant.stage == "refresh":
        return "a renewal without an answer rests half a minute"
    if grant.stage == "exchange":
        return "the code is older than 55 s"
    if grant.stage == "rest":
        return "an hour later only a tap by its own user finds it"
    if now >= given_up_at(grant):
        return "30 days are over"
    return "the access token ends within a minute"


def _key(here: At) -> tuple[object, ...]:
    """Return what decides over a grant's future, and nothing that only counts on."""
    grant, now = here
    facts = (grant.state, grant.stage, grant.resume, grant.renewed, grant.begun > 1, min(grant.posts, 2), grant.patched)
    facts = (*facts, grant.resume_at is None)
    held = (grant.attempt, grant.account, grant.pool is None, grant.access, grant.tries > 0)
    over = (grant.nonce_until and now > grant.nonce_until - 10, grant.expires_at and now > grant.expires_at - 60)
    due = grant.due_at is not None and grant.due_at <= now
    over = (*over, grant.settles_at and now < grant.settles_at, grant.risk, now > (refresh.dies(grant) or now))
    untaken = (now >= grant.untaken_at + refresh.UNTAKEN, min(grant.tries, refresh.UNTAKEN_TRIES)) if grant.untaken_at else None
    over = (*over, untaken)
    doubt = (grant.withdrawn_at is None, grant.look_at is None, grant.look_at is not None and grant.look_at <= now, grant.looks)
    facts = (*facts, *doubt)
    return *facts, *held, *over, due, now - grant.received_at > schedule.CODE_LAST, now >= given_up_at(grant)


def attempts(taught: set[tuple[str, str]]) -> set[tuple[str, str, str]]:
    """Return every transition of an attempt: (state, cause, to state). `taught`: (state of its grant, what it learns)."""
    fresh = claims.requested(attempt="t", nonce_hash="n", secret=b"s", time=str(int(AT * 1000)), partner_user="u", at=AT)
    found = {(fresh.state, "ten minutes without its grant", (claims.overdue(fresh, AT + 601) or fresh).state)}
    base = saga.received(code_hash="0" * 64, code=b"c", app="first", stranger=False, at=AT)
    for state, user in (("unclaimed", None), ("completed", "u"), ("completed", "another"), ("claimed", "another")):
        grant = replace(base, state=state, partner_user=user)
        words = {"unclaimed": "its grant is open", "claimed": "its grant is another sign-in's: it waits"}
        cause = words.get(state, f"its account is linked already, {'to this user' if user == 'u' else 'to another'}")
        found.add((fresh.state, cause, claims.matched(fresh, grant, AT + claims.OWN_CODE)[0].state))
    for state in ("received", "claimed", "awaiting", "completed", "rejected"):
        found |= _collisions(replace(fresh, state=state))
    found |= {(state, "its account was forgotten", claims.swept(replace(fresh, state=state), AT).state) for state in UNDER_WAY}
    return found | {(before, "its grant learns it", after) for before, after in taught}


def _collisions(first: Attempt) -> set[tuple[str, str, str]]:
    """Return what becomes of two attempts with one nonce."""
    found = set()
    for user in ("u", "another"):
        second = replace(first, attempt="t2", state="received", partner_user=user, reason=None)
        one, two = claims.collided(first, second, AT)
        whose = "the same user" if user == "u" else "another user"
        if one.state != first.state:
            found.add((first.state, "another user confirmed it too", one.state))
        if two.state != "received":
            found.add(("received", f"{whose} had confirmed it before ({first.state})", two.state))
        elif two.follows:
            found.add(("received", "the same user confirmed it twice: it shows the first one", "received"))
    return found


def page(walk: Walk) -> str:
    """Return linker/saga.md."""
    moves = {step for step in walk.steps if step.state != step.to_state}
    taught = {(attempt, step.taught) for step in walk.steps if step.taught and (attempt := _its(step.state))}
    return f"""# The life of a link

Made by `python -m tests.linker.picture` from the transitions in `saga.py` and `claims.py`; a test holds it to them.

## A grant: one code that Ring gave, and all that became of it

{_diagram((step.state, step.cause, step.to_state) for step in moves)}
## An attempt: one sign-in that a user confirmed

{_diagram(attempts(taught))}
## Each transition of a grant, with its cause

What is done next stands behind the state. Where a state is entered that has ended, the row holds the reason in words.

| state · stage | cause | state · stage |
| --- | --- | --- |
{_table(walk.steps)}"""


def _its(state: str) -> str | None:
    return state if state in {"claimed", "awaiting"} else None


def _diagram(edges: Iterable[tuple[str, str, str]]) -> str:
    """Return a state diagram: an arrow for each two states, with all its causes."""
    causes = defaultdict[tuple[str, str], set[str]](set)
    for before, cause, after in edges:
        causes[before, after].add(cause)
    arrows = [
        f"    {before} --> {after}: {'<br>'.join(sorted(found))}"
        for (before, after), found in sorted(causes.items(), key=lambda one: tuple(map(_rank, one[0])))
    ]
    over = [f"    {state} --> [*]" for state in sorted({after for _, after in causes} & ENDED)]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> received", *arrows, *over, "```", ""])


def _table(steps: Iterable[Step]) -> str:
    causes = defaultdict[tuple[str, str, str, str], set[str]](set)
    for step in steps:
        causes[step.state, step.stage, step.to_state, step.to_stage].add(step.cause)
    rows = sorted(causes.items(), key=lambda one: (_rank(one[0][0]), one[0][1], _rank(one[0][2]), one[0][3]))
    return "".join(f"| {a} · {b} | {'<br>'.join(sorted(found))} | {c} · {d} |\n" for (a, b, c, d), found in rows)


def _rank(state: str) -> tuple[int, str]:
    return (GRANTS.index(state) if state in GRANTS else len(GRANTS), state)


if __name__ == "__main__":
    PAGE.write_text(page(Walk().run()))
