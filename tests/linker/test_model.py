"""Walk the saga as chance will have it: grants of one account, sign-ins, every outcome, crashes, and time."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from linker import claims, refresh, removal, saga, view
from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ENDED, Account, Attempt, Grant
from linker.schedule import linking, posted_until, to_post

AT = 1_771_130_906.0
TIMEOUT = 8.0  # seconds a linker waits for Ring
OUTCOMES = st.sampled_from(
    [
        *[Done()] * 3,
        *[Unclear(words="timeout")] * 2,
        NotSent(words="429", wait=3.0),
        Refused(words="404"),
        Refused(words="400", stale=True),
        Refused(words="403", doubtful=True),
        Unauthorised(words="401"),
    ]
)


class Flight(NamedTuple):
    """A renewal that was sent, with the row as it was held then."""

    held: Grant
    since: float


class Links(RuleBasedStateMachine):
    """One Ring account, any number of codes and sign-ins; the rows are moved as store.py moves them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = AT
        self.grants: dict[str, Grant] = {}
        self.attempts: dict[str, Attempt] = {}
        self.account = Account(account="acct")
        self.sent: list[str] = []
        self.posts: dict[tuple[str, str | None], int] = {}
        self.tried: set[tuple[str, str | None]] = set()  # whose POST went out, or was about to
        self.unanswered: set[str] = set()
        self.flying: dict[str, Flight] = {}  # renewals whose linkers await an answer, and hold the row
        self.frozen: list[Flight] = []  # those whose linkers stand still: their leases are over
        self.woken: set[str] = set()  # grants whose row a linker wrote after it had stood still
        self.spent: dict[tuple[str, bytes], tuple[float, bool]] = {}  # refresh token → when it was sent, and surely in vain

    @rule(age=st.sampled_from([0.0, 0.0, 30.0, 56.0]))
    def a_code_comes(self, age: float) -> None:
        code_hash = f"{len(self.grants):064x}"
        self.grants[code_hash] = saga.received(code_hash=code_hash, code=b"c", app="first", stranger=False, at=self.now - age)
        self.now += 0.001

    @rule(user=st.sampled_from(["u1", "u2"]))
    def a_user_signs_in(self, user: str) -> None:
        name = f"t{len(self.attempts)}"
        time = str(int(self.now * 1000))
        self.attempts[name] = claims.requested(
            attempt=name, nonce_hash=name, secret=b"s", time=time, partner_user=user, at=self.now
        )

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), user=st.sampled_from(["u1", "u2"]))
    def a_nonce_comes_twice(self, data: st.DataObject, user: str) -> None:
        self._contest(self.attempts[data.draw(st.sampled_from(sorted(self.attempts)))], user)

    def _contest(self, first: Attempt, user: str) -> None:
        if first.nonce_hash is None:
            return
        second = replace(
            first, attempt=f"t{len(self.attempts)}", partner_user=user, state="received", due_at=self.now, grant=None
        )
        one, two = claims.collided(first, replace(second, marks=(), reason=None), self.now)
        grant = self.grants.get(first.grant or "")
        if one.state == "contested" and grant and grant.attempt == first.attempt:
            self._apply(grant, replace(saga.unclaimed(grant, saga.Verdict("contested"), self.now), verdict=None))
        self.attempts |= {one.attempt: one, two.attempt: two}

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0, 20.0, 40.0, 120.0, 700.0, 15_000.0, 31 * 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        if seconds > TIMEOUT:
            for flight in [*self.flying.values()]:
                self._land(flight, Unclear(words="timeout"))
        self.now += seconds

    @precondition(lambda self: self._renewable())
    @rule(data=st.data())
    def a_renewal_goes_out(self, data: st.DataObject) -> None:
        self._send_renewal(self.grants[data.draw(st.sampled_from(self._renewable()))])

    def _send_renewal(self, grant: Grant) -> None:
        held = saga.begin(replace(grant, begun=grant.begun + 1), self.now).grant
        self._call("refresh", held, Unclear(words="under way"))
        self.grants[held.code_hash] = held
        self.flying[held.code_hash] = Flight(held, self.now)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=OUTCOMES)
    def its_answer_comes(self, data: st.DataObject, outcome: Outcome) -> None:
        self._land(self.flying[data.draw(st.sampled_from(sorted(self.flying)))], outcome)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def its_linker_freezes(self, data: st.DataObject) -> None:
        self.frozen.append(self.flying.pop(data.draw(st.sampled_from(sorted(self.flying)))))

    @precondition(lambda self: self.frozen)
    @rule(data=st.data(), outcome=OUTCOMES)
    def a_frozen_linker_goes_on(self, data: st.DataObject, outcome: Outcome) -> None:
        flight = self.frozen.pop(data.draw(st.integers(0, len(self.frozen) - 1)))
        self.woken.add(flight.held.code_hash)
        self._write_late(flight, outcome)

    @rule(data=st.data(), user=st.sampled_from(["u1", "u2"]))
    def a_sign_in_meets_a_renewal(self, data: st.DataObject, user: str) -> None:
        self.a_code_comes(0.0)
        self.all_goes_well_for_a_while(2)
        self.time_passes(86_400.0)
        newest = max(self.grants)
        if newest not in self._renewable():
            return
        self._send_renewal(self.grants[newest])
        self.a_user_signs_in(user)
        for name in self._looking():
            self._look(self.attempts[name])
        for step in data.draw(st.lists(st.sampled_from(["answer", "freeze", "advance", "moment", "contest"]), max_size=8)):
            outcome = data.draw(OUTCOMES)
            if step == "moment":
                self.now += 1.0
            elif step == "advance" and (due := self._due()):
                self._advance(self.grants[max(due)], outcome, None)
            elif step == "contest":
                self._contest(self.attempts[max(self.attempts, key=lambda name: int(name[1:]))], "u3")
            elif step == "answer" and (flight := self.flying.get(newest)):
                self._land(flight, outcome)
            elif step == "freeze" and newest in self.flying:
                self.frozen.append(self.flying.pop(newest))

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        del self.flying[flight.held.code_hash]
        self._write_late(flight, outcome)

    def _write_late(self, flight: Flight, outcome: Outcome) -> None:
        token = flight.held.code_hash, flight.held.refresh or b""
        if _in_vain(outcome) and self.spent[token][0] == flight.since:  # nobody sent it again meanwhile
            self.spent[token] = (flight.since, True)
        held, fresh = flight.held, self.grants[flight.held.code_hash]
        full = self._full(saga.Move(held, call="refresh"), outcome)
        move = saga.end(held, full, self.now) if fresh is held else saga.late(held, fresh, full, self.now)
        if move:
            self._apply(fresh, move)

    @rule()
    def a_service_wants_a_token(self) -> None:
        for grant in list(self.grants.values()):
            if grant.state == "completed" and (move := refresh.wanted(grant, self.now)):
                self._apply(grant, move)

    @rule(steps=st.integers(1, 4))
    def all_goes_well_for_a_while(self, steps: int) -> None:
        for _ in range(steps):
            for code_hash in self._due():
                self._advance(self.grants[code_hash], Done(), None)
            for name in self._looking():
                self._look(self.attempts[name])
            self.now += 0.1

    @rule(user=st.sampled_from(["u1", "u2"]))
    def a_link_is_claimed(self, user: str) -> None:
        self.a_code_comes(0.0)
        self.all_goes_well_for_a_while(2)
        self.a_user_signs_in(user)
        for name in self._looking():
            self._look(self.attempts[name])

    @precondition(lambda self: self._to_post())
    @rule(data=st.data(), outcome=OUTCOMES, late=st.sampled_from([-1.0, 0.001, 700.0]))
    def a_nonce_is_about_to_be_over(self, data: st.DataObject, outcome: Outcome, late: float) -> None:
        grant = self.grants[data.draw(st.sampled_from(self._to_post()))]
        self.time_passes(max(0.0, posted_until(grant) + late - self.now))
        if grant.code_hash in self._due():
            self._advance(self.grants[grant.code_hash], outcome, None)

    @precondition(lambda self: self._due())
    @rule(data=st.data(), outcome=OUTCOMES, crash=st.sampled_from([None, None, "before", "after"]))
    def a_grant_is_advanced(self, data: st.DataObject, outcome: Outcome, crash: str | None) -> None:
        self._advance(self.grants[data.draw(st.sampled_from(self._due()))], outcome, crash)

    def _advance(self, grant: Grant, outcome: Outcome, crash: str | None) -> None:
        grant = replace(grant, begun=grant.begun + 1)
        self.grants[grant.code_hash] = grant
        move = saga.begin(grant, self.now)
        self._a_nonce_has_its_time(grant, move)
        if move.call is None:
            self._apply(grant, move)
            return
        self.grants[grant.code_hash] = move.grant
        if move.call == "post":
            self.tried.add((grant.code_hash, grant.attempt))
        if crash == "before":
            return
        self._call(move.call, move.grant, outcome)
        if crash == "after":
            self.unanswered.add(move.grant.attempt or "")
            return
        after = saga.end(move.grant, self._full(move, outcome), self.now)
        shown = isinstance(outcome, Unauthorised | Refused)
        assert shown or after.grant.reason != removal.GONE, "a link was ended that Ring did not show to be removed"
        self._apply(move.grant, after)

    def _a_nonce_has_its_time(self, grant: Grant, move: saga.Move) -> None:
        over = linking(grant) and self.now > posted_until(grant)
        assert not (over and move.call == "post"), "a nonce was posted after its time"
        never = (grant.code_hash, grant.attempt) not in self.tried
        if over and (never or to_post(grant)) and saga.plain(grant.stage) == grant.stage:
            assert move.verdict, "a sign-in whose nonce was not posted in time was not told"
            assert (move.verdict.state, saga.TAP in (move.verdict.reason or "")) == ("expired", True)
            assert not linking(move.grant)

    @precondition(lambda self: self._looking())
    @rule(data=st.data())
    def an_attempt_looks(self, data: st.DataObject) -> None:
        self._look(self.attempts[data.draw(st.sampled_from(self._looking()))])

    def _look(self, attempt: Attempt) -> None:
        over = claims.overdue(attempt, self.now)
        pool = sorted((g for g in self.grants.values() if g.pool is not None), key=lambda g: g.generation, reverse=True)
        if over or not pool:
            self.attempts[attempt.attempt] = over or claims.unmatched(attempt, self.now, self.now)
            return
        after, move = claims.matched(attempt, pool[0], self.now)
        self.attempts[attempt.attempt] = after
        if move:
            self._apply(pool[0], replace(move, verdict=None))

    @rule(ago=st.sampled_from([0.0, 100.0]))
    def the_user_removes_the_app(self, ago: float) -> None:
        for grant in list(self.grants.values()):
            if grant.account:
                move = saga.withdrawn(grant, self.now - ago, self.now)
                assert grant.state in {move.grant.state, "lost"}, "a removal was taken at its word"
                self._apply(grant, move)

    def _due(self) -> list[str]:
        due = (name for name, grant in self.grants.items() if grant.due_at is not None and grant.due_at <= self.now)
        return sorted(name for name in due if name not in self.flying or self.grants[name].stage != "refreshing")

    def _to_post(self) -> list[str]:
        return sorted(name for name, grant in self.grants.items() if to_post(grant))

    def _renewable(self) -> list[str]:
        return [name for name in self._due() if saga.begin(self.grants[name], self.now).call == "refresh"]

    def _looking(self) -> list[str]:
        return sorted(name for name, attempt in self.attempts.items() if attempt.due_at is not None)

    def _call(self, call: str, grant: Grant, outcome: Outcome) -> None:
        if call == "exchange" and not isinstance(outcome, NotSent):
            assert grant.code_hash not in self.sent, "a code was sent twice"
            self.sent.append(grant.code_hash)
        if call == "post":
            assert self.posts.get((grant.code_hash, grant.attempt), 0) == 0, "a POST was repeated before a PATCH had asked"
            self.posts[grant.code_hash, grant.attempt] = int(isinstance(outcome, Unclear | Done))
        if call == "devices":
            assert (grant.expires_at or 0.0) > self.now, "Ring was asked with a token that proves nothing"
        if call == "refresh":
            self._refresh_token_is_good_to_send(grant, outcome)
        if call == "patch":
            self.posts[grant.code_hash, grant.attempt] = 0

    def _refresh_token_is_good_to_send(self, grant: Grant, outcome: Outcome) -> None:
        name = grant.code_hash
        assert name not in self.flying or name in self.woken, "two renewals of one grant at once"
        assert grant.refresh == b"r%d" % grant.writes, "a refresh token was sent whose successor is stored"
        before, in_vain = self.spent.get((name, grant.refresh), (0.0, True))
        assert in_vain or self.now >= before + refresh.SETTLES, "a refresh token was sent again before its first answer was past"
        self.spent[name, grant.refresh] = (self.now, _in_vain(outcome))

    def _full(self, move: saga.Move, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Done):
            return outcome
        write = move.grant.writes + 1
        sealed = {"access": b"a%d" % write, "refresh": b"r%d" % write, "writes": write}
        tokens = Tokens(**sealed, given_at=self.now, expires_at=self.now + 14_400)
        return {"exchange": Done(tokens=tokens), "refresh": Done(tokens=tokens), "identify": Done(account="acct")}.get(
            str(move.call), outcome
        )

    def _apply(self, before: Grant, move: saga.Move) -> None:
        self.grants[before.code_hash] = move.grant
        self._teach(before.attempt, move.verdict)
        for old in view.replaced([grant for grant in self.grants.values() if grant.account]):
            gone = saga.removed(old, "replaced", self.now)
            self.grants[old.code_hash] = gone.grant
            self._teach(old.attempt, gone.verdict)
        owned = [grant for grant in self.grants.values() if grant.account]
        after = view.seen(self.account, owned, self.now)
        assert replace(after, risk=self.account.risk) == self.account or after.version == self.account.version + 1
        self.account = after

    def _teach(self, attempt: str | None, verdict: saga.Verdict | None) -> None:
        if attempt and verdict:
            self.attempts[attempt] = claims.learned(self.attempts[attempt], verdict, self.now)

    @invariant()
    def never_two_serving_generations(self) -> None:
        completed = [grant for grant in self.grants.values() if grant.state == "completed"]
        assert len(completed) <= 1
        assert self.account.linked == bool(completed)
        if completed:
            assert self.account.partner_user == completed[0].partner_user

    @invariant()
    def every_grant_has_an_exit_or_a_reason(self) -> None:
        for grant in self.grants.values():
            if grant.state in ENDED:
                assert grant.reason
                assert (grant.code, grant.access, grant.refresh, grant.due_at) == (None, None, None, None)
                assert (grant.risk is not None) == (grant.state == "lost" and grant.account is not None) or not grant.account
            else:
                assert grant.due_at is not None  # also of what is completed: its tokens live on

    @invariant()
    def every_attempt_has_an_exit_or_a_reason(self) -> None:
        for attempt in self.attempts.values():
            if attempt.state in ENDED:
                assert attempt.reason
                assert attempt.secret is None
            elif attempt.state in {"claimed", "awaiting"}:
                grant = self.grants[attempt.grant or ""]
                assert (grant.attempt, linking(grant)) == (attempt.attempt, True)
                assert grant.state in {attempt.state, "completed"}
            elif attempt.state == "received" and attempt.follows is None:
                assert attempt.due_at is not None

    @invariant()
    def a_grant_is_its_attempts_and_only_that_users(self) -> None:
        for grant in self.grants.values():
            if grant.state in {"claimed", "awaiting"}:
                assert self.attempts[grant.attempt or ""].partner_user == grant.partner_user


def _in_vain(outcome: Outcome) -> bool:
    """Say whether a renewal surely came to nothing, and its token may be sent again."""
    return isinstance(outcome, NotSent) or (isinstance(outcome, Refused) and outcome.doubtful)


Links.TestCase.settings = settings(max_examples=200, stateful_step_count=80, deadline=None)
TestLinks = Links.TestCase
