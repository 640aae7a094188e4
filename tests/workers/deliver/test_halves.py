"""Events that share requests with bad ones: whoever they are, the good are accepted, and each bad one is judged alone, soon."""

from datetime import UTC, datetime, timedelta
from math import ceil, log2

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.deliver.answer import Answer, Failure
from workers.deliver.health import Health
from workers.deliver.policy import Again, Bury, Decision, Done, Standard, attempted
from workers.deliver.window import Item, Window, part

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALIVE = Health(concurrency=1, life=T0 + timedelta(days=9))
POLICY = Standard()
SIZES = st.integers(2, 64)
STATUSES = st.sampled_from([400, 413, 422, 500, 501])


class Service:
    """Refuses every request in which there is a bad one; sees all, one after the other."""

    def __init__(self, keys: list[str | None], bad: set[int], most: int, status: int) -> None:
        self.window: Window[int] = Window(0)
        for offset, key in enumerate(keys):
            self.window.admit(Item(offset, key, offset, T0))
        self.bad, self.most, self.status, self.now = bad, most, status, T0
        self.requests: list[list[int]] = []
        self.fates: dict[int, Decision] = {}

    def serve(self) -> None:
        """Send until nothing is open."""
        while self.window.open:
            self.now += SECOND
            if first := self.window.untried(self.now) or self.window.again(self.now):
                self._request([first, *self._others(first)])

    def _others(self, first: Item[int]) -> list[Item[int]]:
        if first.judged:
            return []
        if first.company is not None:
            return self.window.fellows(first, self.now)
        taken = (self.window.another(self.now, lambda _: True) for _ in range(self.most - 1))
        return [item for item in taken if item]

    def _request(self, items: list[Item[int]]) -> None:
        offsets = [item.offset for item in items]
        self.requests.append(offsets)
        answer = Answer(status=self.status if self.bad & {*offsets} else 200)
        verdict = POLICY.judge(answer)
        for item in items:
            single = item.key in self.window.buried
            item.tries = attempted(item.tries, verdict, answer, self.now, single=single, events=len(items))
        assert items[0].tries
        decision = POLICY.decide(verdict, items[0].tries, ALIVE, self.now, 0.5)
        if isinstance(decision, Again) and decision.apart:
            part(items)
        for offset in offsets:
            self.window.settle(offset, decision)
            self.fates[offset] = decision

    def judged(self) -> None:
        """Hold that each got what it deserved."""
        for offset, fate in self.fates.items():
            assert isinstance(fate, Bury if offset in self.bad else Done)
        assert {sent[0] for sent in self.requests if len(sent) == 1} >= {*self.fates} & self.bad
        assert max(map(len, self.requests)) <= self.most


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=12), SIZES, STATUSES)
def test_each_bad_one_costs_few_requests(count: int, bad: set[int], most: int, status: int) -> None:
    service = Service([None] * count, bad & {*range(count)}, most, status)
    service.serve()
    service.judged()
    assert len(service.fates) == count
    alone = POLICY.refused_limit if status < 500 else len(POLICY.schedule) + 1
    assert len(service.requests) <= ceil(count / most) + len(service.bad) * (2 * ceil(log2(most)) + alone)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=60), st.data(), SIZES, STATUSES)
def test_the_order_of_a_key_stands(keys: list[str | None], data: st.DataObject, most: int, status: int) -> None:
    bad = data.draw(st.sets(st.integers(0, len(keys) - 1), max_size=8))
    service = Service(keys, bad, most, status)
    service.serve()
    service.judged()
    latest: dict[str, int] = {}
    for offset in (offset for sent in service.requests for offset in sent):
        if key := keys[offset]:
            assert offset >= latest.get(key, 0), "one was sent after what comes behind it"
            latest[key] = offset


@settings(max_examples=200, deadline=None)
@given(
    SIZES,
    st.sampled_from([*range(300, 600)]) | st.sampled_from(["connect", "tls", "dns", "timeout", "protocol", "guard"]),
    st.booleans(),
    st.integers(0, 5),
)
def test_what_speaks_of_the_destination_keeps_them_together(
    events: int,
    said: int | Failure,
    lives: bool,  # noqa: FBT001 -- drawn
    failed: int,
) -> None:
    answer = Answer(status=said) if isinstance(said, int) else Answer(failure=said)
    verdict = POLICY.judge(answer)
    life = T0 + SECOND if lives else T0 - SECOND
    health = Health(concurrency=1, life=life, failed=frozenset((0, number) for number in range(failed)))
    fate = POLICY.decide(verdict, attempted(None, verdict, answer, T0, single=False, events=events), health, T0 + SECOND, 0.5)
    assert isinstance(fate, Again)
    of_them = isinstance(said, int) and said >= 400 and said not in OF_DESTINATION
    maybe = said in {"timeout", "protocol"} or (isinstance(said, int) and (said < 400 or said in UNCLEAR))
    assert fate.apart == (not health.failing and (of_them or (maybe and lives)))


UNCLEAR = {401, 403, 404, 405, 407, 408, 411, 415, 421, 425, 426}
OF_DESTINATION = UNCLEAR | {410, 429, 502, 503, 504}
