"""Walk the saga beside the strict simulated Ring, both without a wire: what it believes is held against what Ring knows."""

from hashlib import sha256
from typing import Any, Final, Literal, cast
from urllib.parse import urlencode

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from deploy.demo.ring.app import ENDPOINTS, INTEGRATION, TOKEN, answered
from deploy.demo.ring.books import Asked, Books
from deploy.demo.ring.faults import DOCUMENTED, Fault
from deploy.demo.ring.oauth import FORM
from deploy.demo.ring.state import Account as Home
from deploy.demo.ring.state import Client, Code, Integration, World, doorbell
from linker import claims, refresh, saga, schedule, view
from linker.outcomes import Done, Outcome, Tokens, Unclear
from linker.ringapi import Raw, _outcome
from linker.rows import ENDED, Account, Attempt, Grant
from linker.schedule import linking
from schemas.errors import Rejected
from schemas.ring import answers, api, nonce

AT = 1_771_130_906.0
CLIENT = Client("client-1", "secret-1", "test-hmac-key")
HOMES = ("home-a", "home-b")
OWNERS = {home: f"owner-of-{home}" for home in HOMES}
USERS = (*OWNERS.values(), "stranger")
CALLS: dict[str, tuple[answers.Call, str, str]] = {
    "exchange": ("exchange", "POST", TOKEN),
    "refresh": ("refresh", "POST", TOKEN),
    "identify": ("account", "GET", "/v1/users/me"),
    "post": ("claim", "POST", INTEGRATION),
    "patch": ("complete", "PATCH", INTEGRATION),
    "devices": ("devices", "GET", "/v1/devices"),
}
LOST_ON_THE_WAY: Final = (Fault(unheard=True), Fault(drop=True))
OUTAGES: Final = (Fault(503, headers=(("Retry-After", "2"),)), Fault(500), Fault(502, raw=b"<html>"), Fault(unheard=True))
LIES: Final = {"Invalid Status Transition", "Invalid Nonce"}  # Ring says it where it is so, and nowhere else
Crash = Literal["before", "after"]


class Links(RuleBasedStateMachine):
    """Two Ring accounts and three partner users; the rows are moved as store.py moves them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = AT
        self.books = Books(World(CLIENT), clock=lambda: self.now)
        self.books.budget.rate = 1_000_000
        self.homes = {name: Home(f"ava1.ring.account.{name}", [doorbell()]) for name in HOMES}
        self.world = self.books.world
        self.world.accounts = {home.id: home for home in self.homes.values()}
        self.codes: dict[str, str] = {}  # hash → code
        self.grants: dict[str, Grant] = {}
        self.attempts: dict[str, Attempt] = {}
        self.nonces: dict[str, tuple[str, str]] = {}  # hash → nonce, account
        self.signed: set[tuple[str, str]] = set()  # (account, user): who signed in by a nonce of that account
        self.contested: set[str] = set()  # nonces that two users confirmed before either was linked
        self.unanswered: set[str | None] = set()  # codes and refresh tokens whose answer nobody has
        self.accounts: dict[str, Account] = {}
        self.post_down = (0.0, Fault())  # until when Ring takes no POST of a nonce, and what it says
        self.outage: tuple[float, Fault] | None = None  # the last one: how long, and what it said

    # What happens at Ring and in browsers

    @rule(home=st.sampled_from(HOMES))
    def a_user_confirms_the_app(self, home: str) -> None:
        code = f"code-{len(self.codes)}"
        self.homes[home].integration = Integration()
        self.world.codes[code] = Code(self.homes[home].id, self.now)
        self._code_comes(code, self.now)

    @rule()
    def somebody_posts_a_junk_code(self) -> None:
        self._code_comes(f"junk-{len(self.codes)}", self.now)

    @precondition(lambda self: self.codes)
    @rule(data=st.data())
    def a_code_is_posted_again(self, data: st.DataObject) -> None:
        self._code_comes(self.codes[data.draw(st.sampled_from(sorted(self.codes)))], self.now)

    @rule(home=st.sampled_from(HOMES), user=st.sampled_from(USERS), owner=st.booleans(), ago=st.sampled_from([0.0, 0.0, 500.0]))
    def a_user_taps_sign_in_and_confirms(self, home: str, user: str, *, owner: bool, ago: float) -> None:
        asked = self.world.redirect(self.homes[home], self.now - ago)
        self._sign_in(asked["nonce"], asked["time"], self.homes[home].id, OWNERS[home] if owner else user)

    @precondition(lambda self: self.nonces)
    @rule(data=st.data(), user=st.sampled_from(USERS))
    def another_browser_confirms_the_same_nonce(self, data: st.DataObject, user: str) -> None:
        hashed = data.draw(st.sampled_from(sorted(self.nonces)))
        first = next(attempt for attempt in self.attempts.values() if attempt.nonce_hash == hashed)
        self._sign_in(self.nonces[hashed][0], first.time, self.nonces[hashed][1], user)

    @rule(home=st.sampled_from(HOMES))
    def a_user_removes_the_app(self, home: str) -> None:
        self.world.remove(self.homes[home])
        for grant in list(self.grants.values()):
            if grant.account == self.homes[home].id:
                self._apply(grant, saga.withdrawn(grant, self.now, self.now))
        self.now += 0.001

    @rule(
        shape=st.sampled_from(["flat", "jsonapi"]),
        errors=st.sampled_from(["flat", "jsonapi"]),
        again=st.booleans(),
        bogus=st.sampled_from([400, 401, 403]),
    )
    def ring_answers_another_way(self, shape: Any, errors: Any, *, again: bool, bogus: int) -> None:  # noqa: ANN401 - literals
        self.world.shape, self.world.errors, self.world.patch_again, self.world.bogus_code = shape, errors, again, bogus

    @rule(seconds=st.sampled_from([1.0, 4.0, 60.0, 400.0]), fault=st.sampled_from(OUTAGES))
    def ring_takes_no_posts_for_a_while(self, seconds: float, fault: Fault) -> None:
        self.post_down = (self.now + seconds, fault)
        self.outage = (seconds, fault)

    @rule(seconds=st.sampled_from([0.5, 2.0, 20.0, 56.0, 120.0, 700.0, 15_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # What the linker does

    @rule(steps=st.integers(1, 4))
    def all_goes_well_for_a_while(self, steps: int) -> None:
        for _ in range(steps):
            self._calm_step()

    @precondition(lambda self: self._due())
    @rule(data=st.data(), crash=st.sampled_from([None, None, None, "before", "after"]))
    def a_grant_is_advanced(self, data: st.DataObject, crash: Crash | None) -> None:
        grant = self.grants[data.draw(st.sampled_from(self._due()))]
        begun = saga.begin(replace(grant, begun=grant.begun + 1), self.now)
        place = " ".join(CALLS[begun.call][1:]) if begun.call else ""
        spoiled = [fault for fault in DOCUMENTED.get(place, ()) if fault.title not in LIES]
        kinds = (Fault(), Fault(), *LOST_ON_THE_WAY, *spoiled)
        self._advance(grant, data.draw(st.sampled_from(kinds)), crash)

    @rule(home=st.sampled_from(HOMES), data=st.data())
    def a_link_goes_a_thorny_way(self, home: str, data: st.DataObject) -> None:
        self.a_user_confirms_the_app(home)
        self._calm_step()
        self._calm_step()
        self.a_user_taps_sign_in_and_confirms(home, OWNERS[home], owner=True, ago=0.0)
        for name in self._looking():
            self._look(self.attempts[name])
        for _ in range(data.draw(st.integers(1, 6))):
            if self._due():
                self.a_grant_is_advanced(data, data.draw(st.sampled_from([None, None, None, "before", "after"])))
            self.now += 3.0

    @precondition(lambda self: self._looking())
    @rule(data=st.data())
    def an_attempt_looks(self, data: st.DataObject) -> None:
        self._look(self.attempts[data.draw(st.sampled_from(self._looking()))])

    def _calm_step(self) -> None:
        for code_hash in self._due():
            self._advance(self.grants[code_hash], Fault(), None)
        for name in self._looking():
            self._look(self.attempts[name])
        self.now += 0.1

    def _due(self) -> list[str]:
        return sorted(name for name, grant in self.grants.items() if grant.due_at is not None and grant.due_at <= self.now)

    def _looking(self) -> list[str]:
        return sorted(
            name for name, attempt in self.attempts.items() if attempt.due_at is not None and attempt.due_at <= self.now
        )

    def _code_comes(self, code: str, at: float) -> None:
        code_hash = sha256(code.encode()).hexdigest()
        self.codes[code_hash] = code
        self.grants.setdefault(
            code_hash, saga.received(code_hash=code_hash, code=code.encode(), app="first", stranger=False, at=at)
        )
        self.now += 0.001

    def _sign_in(self, given: str, time: str, account: str, user: str) -> None:
        hashed, name = sha256(given.encode()).hexdigest(), f"t{len(self.attempts)}"
        if self.now > int(time) / 1000 + schedule.NONCE_LIFE:
            return  # the door says so
        first = next((attempt for attempt in self.attempts.values() if attempt.nonce_hash == hashed), None)
        second = claims.requested(
            attempt=name, nonce_hash=hashed, secret=given.encode(), time=time, partner_user=user, at=self.now
        )
        self.nonces[hashed] = (given, account)
        self.signed.add((account, user))
        if first is None:
            self.attempts[name] = second
            return
        if first.partner_user != user and first.state != "completed":
            self.contested.add(hashed)
        one, two = claims.collided(first, second, self.now)
        grant = self.grants.get(first.grant or "")
        self.attempts |= {one.attempt: one, two.attempt: two}
        if one.state == "contested" and grant and grant.attempt == first.attempt:
            opened = saga.unclaimed(grant, saga.Verdict("contested", claims.CONTESTED), self.now)
            self._apply(grant, replace(opened, verdict=None))

    def _advance(self, grant: Grant, fault: Fault, crash: Crash | None) -> None:
        grant = self.grants[grant.code_hash] = replace(grant, begun=grant.begun + 1)
        move = saga.begin(grant, self.now)
        if move.call is None:
            self._apply(grant, move)
            return
        self.grants[grant.code_hash] = move.grant
        if crash == "before":
            return
        outcome = self._ask(move.call, move.grant, self._met(move.call, fault))
        if crash == "after" or isinstance(outcome, Unclear):
            self.unanswered.add(self.books.ledger.calls[-1].secret)
        if crash != "after":
            self._apply(move.grant, saga.end(move.grant, outcome, self.now))

    def _met(self, call: str, fault: Fault) -> Fault:
        until, outage = self.post_down
        return outage if call == "post" and self.now < until else fault

    def _ask(self, call: str, grant: Grant, fault: Fault) -> Outcome:
        name, method, path = CALLS[call]
        asked = Asked(method, path, *self._body(call, grant), bearer=(grant.access or b"").decode())
        answer = answered(self.books, ENDPOINTS[method, path], asked, fault, self.now)
        seen = self.books.ledger.calls[-1]
        assert grant.account in {None, seen.account}, "a token of one account was used for another"
        if fault.drop or fault.unheard:
            return Unclear(words="the connection was cut")
        body = answer.raw if answer.raw is not None else orjson.dumps(answer.body)
        outcome = _outcome(name, Raw(answer.status, dict(answer.headers).get("Retry-After"), body), ())
        return self._read(call, grant, outcome, body)

    def _read(self, call: str, grant: Grant, outcome: Outcome, body: bytes) -> Outcome:
        try:
            if isinstance(outcome, Done) and call in {"exchange", "refresh"}:
                given = api.read_tokens(body)
                access, refresh = given.access_token.encode(), (given.refresh_token or "").encode()
                times = {"given_at": self.now, "expires_at": self.now + given.expires_in}
                return Done(tokens=Tokens(access=access, refresh=refresh, writes=grant.writes + 1, **times))
            if isinstance(outcome, Done) and call == "identify":
                return Done(account=api.read_account(body))
        except Rejected as error:
            return Unclear(words=str(error))
        return outcome

    def _body(self, call: str, grant: Grant) -> tuple[bytes, str]:
        if call == "exchange":
            form = api.exchange_form(CLIENT.client_id, CLIENT.client_secret, (grant.code or b"").decode())
            return urlencode(form).encode(), FORM
        if call == "refresh":
            form = api.refresh_form(CLIENT.client_id, CLIENT.client_secret, (grant.refresh or b"").decode())
            return urlencode(form).encode(), FORM
        if call == "post":
            secret = self.attempts[grant.attempt or ""].secret or b""
            return api.claim_body(secret.decode(), "u***r@example.com"), "application/json"
        return (api.complete_body(), "application/json") if call == "patch" else (b"", "")

    def _look(self, attempt: Attempt) -> None:
        if over := claims.overdue(attempt, self.now):
            self.attempts[attempt.attempt] = over
            return
        pool = sorted((grant for grant in self.grants.values() if grant.pool is not None), key=_generation, reverse=True)
        wanted = (attempt.secret or b"").decode()
        account = nonce.match(CLIENT.hmac_key.encode(), wanted, attempt.time, (grant.account or "" for grant in pool))
        found = next((grant for grant in pool if grant.account == account), None)
        if found is None:
            self.attempts[attempt.attempt] = claims.unmatched(attempt, self.now, self.now)
            return
        after, move = claims.matched(attempt, found, self.now)
        self.attempts[attempt.attempt] = after
        if move:
            self._apply(found, replace(move, verdict=None))

    def _apply(self, before: Grant, move: saga.Move) -> None:
        self.grants[before.code_hash] = move.grant
        self._teach(before.attempt, move.verdict)
        completed = move.grant.completed_at != before.completed_at
        if completed:
            self._completed(before)
        owned = self._owned(move.grant.account)
        for old in view.replaced(owned):
            gone = saga.removed(old, "replaced", self.now)
            self.grants[old.code_hash] = gone.grant
            self._teach(old.attempt, gone.verdict)
        if completed:
            self.grants |= {
                other.code_hash: replace(other, patched=True)
                for other in view.overtaken(self._owned(move.grant.account), move.grant.app)
            }
        if account := move.grant.account:
            known = self.accounts.get(account, Account(account=account))
            self.accounts[account] = view.seen(known, self._owned(account), self.now)

    def _owned(self, account: str | None) -> list[Grant]:
        return [grant for grant in self.grants.values() if account and grant.account == account]

    def _teach(self, attempt: str | None, verdict: saga.Verdict | None) -> None:
        if attempt and verdict:
            self.attempts[attempt] = claims.learned(self.attempts[attempt], verdict, self.now)

    def _completed(self, grant: Grant) -> None:
        """Ring has completed it too, unless the user began anew (confirmed, removed) after tapping Sign In."""
        integration = self.world.accounts[grant.account or ""].integration
        tapped = (grant.nonce_until or 0.0) - schedule.NONCE_LIFE
        assert self._begun_anew(grant, tapped) or (integration and integration.standing == "completed"), grant

    def _begun_anew(self, grant: Grant, since: float) -> bool:
        """Say whether the user confirmed the app again since then."""
        return any(code.account == grant.account and code.issued > since for code in self.world.codes.values())

    # What must hold

    @invariant()
    def no_code_is_sent_twice(self) -> None:
        assert self.books.ledger.codes_sent_twice() == []

    @invariant()
    def a_refresh_token_is_spent_once_unless_its_answer_is_missing(self) -> None:
        assert set(self.books.ledger.refreshed_twice()) <= self.unanswered

    @invariant()
    def an_account_is_linked_to_nobody_who_did_not_sign_in_by_its_own_nonce(self) -> None:
        for account in self.accounts.values():
            assert not account.linked or (account.account, account.partner_user) in self.signed

    @invariant()
    def a_nonce_that_two_users_confirmed_links_neither(self) -> None:
        for attempt in self.attempts.values():
            assert attempt.nonce_hash not in self.contested or attempt.state in ENDED

    @invariant()
    def a_claimed_grant_is_of_one_sign_in_and_of_its_user(self) -> None:
        for grant in self.grants.values():
            if grant.state in {"claimed", "awaiting", "completed"}:
                mine = self.attempts[grant.attempt or ""]
                assert mine.partner_user == grant.partner_user
                assert mine.state == grant.state or (grant.state == "completed" and (linking(grant) or mine.state in ENDED))

    @invariant()
    def an_account_serves_one_generation(self) -> None:
        for account in self.accounts:
            assert sum(grant.state == "completed" for grant in self._owned(account)) <= 1

    @invariant()
    def whoever_waits_is_due_and_whoever_ended_knows_why(self) -> None:
        for row in (*self.grants.values(), *self.attempts.values()):
            assert row.state not in ENDED or (row.reason and row.due_at is None)
        assert all(grant.due_at is not None for grant in self.grants.values() if grant.state not in ENDED | {"completed"})

    def teardown(self) -> None:
        """From wherever it went: what is under way ends; who connects again and taps Sign In is linked, and Ring says so too."""
        for pause in (*(50.0,) * 25, refresh.UNTAKEN, *(50.0,) * 5):
            self._calm_step()
            self.now += pause
        for grant in self.grants.values():
            over = grant.state not in {"received", "exchanged", "claimed", "awaiting"}
            assert over or self._begun_anew(grant, grant.received_at), grant
        for name, home in self.homes.items():
            self._connects_anew_and_the_code_is_lost(name, home)
            self.a_user_removes_the_app(name)
            self._until_nothing_is_due()
            assert not self.accounts.get(home.id, Account(account="")).linked
            self.a_user_confirms_the_app(name)
            self._until_nothing_is_due()
            self.a_user_taps_sign_in_and_confirms(name, OWNERS[name], owner=True, ago=0.0)
            self._while_posts_fail()
            self._until_nothing_is_due()
            assert home.integration is not None
            assert home.integration.standing == "completed"
            account = self.accounts[home.id]
            assert (account.linked, account.partner_user) == (True, OWNERS[name])
        for attempt in self.attempts.values():
            assert attempt.follows or attempt.state in ENDED | {"completed"} or attempt.due_at is not None, attempt

    def _while_posts_fail(self) -> None:
        """Let the last outage come once more, now that somebody signs in: it costs them its time and no more."""
        if self.outage is None:
            return
        seconds, fault = self.outage
        self.post_down = (self.now + seconds, fault)
        over = self.now + seconds + 1.5 * schedule.FOR_A_USER
        while self.now < over:
            self._calm_step()
            self.now += 1.0

    def _connects_anew_and_the_code_is_lost(self, name: str, home: Home) -> None:
        """Whoever was linked a while ago is so at Ring, too, once they tap Sign In: by the tokens that are there."""
        known, serves = self.accounts.get(home.id), view.serving(self._owned(home.id))
        if known is None or serves is None or serves.pool is None or home.integration is None:
            return
        home.integration = Integration()
        self.world.codes[f"lost-{name}"] = Code(home.id, self.now)
        self.now += 1.0
        self._sign_in(*self.world.redirect(home, self.now).values(), home.id, known.partner_user or "")
        self._until_nothing_is_due()
        assert not self.accounts[home.id].linked or home.integration.standing == "completed"

    def _until_nothing_is_due(self) -> None:
        for _ in range(20):
            self._calm_step()


def _generation(grant: Grant) -> int:
    return grant.generation


Links.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestLinks = cast("type", Links.TestCase)
