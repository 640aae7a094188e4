"""Waiting lines beside a naive model: per key a list of offsets, of which only the first is ever sent."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.deliver.buried import Buried
from workers.deliver.parked import Change, Kept, Parked, Tried, name_of
from workers.deliver.policy import Again, Bury, Decision, Done, Tries
from workers.deliver.window import Item
from workers.runtime.lines import TOTAL, Line, Lines

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
Rows = dict[str, dict[int, Item[int]]]


@dataclass
class Store:
    """What a real store would hold, as the SQL leaves it."""

    rows: Rows = field(default_factory=lambda: defaultdict(dict))
    lines: dict[str, Line] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)

    def write(self, change: Change[int], stored: list[Line]) -> list[Line]:
        there = {name: self.lines[name] for name in (*change.names, TOTAL) if name in self.lines}
        assert {line.key: line for line in stored if line.rows} == there
        state = Lines(stored)
        for name, through in change.leaving.items():
            for sequence in range(state[name].first, through + 1):
                del self.rows[name][sequence]
            state.leave(name, through)
            self.tried.pop(name, None)
        for name, items in change.joining.items():
            for item in items:
                state.add(name, b"", 0.0)
                self.rows[name][state[name].last] = item
        self.tried |= change.tried
        assert all((mark in self.marks) != stands for mark, stands in change.marks.items()), "what it knows is told again"
        self.marks = self.marks - change.marks.keys() | {mark for mark, stands in change.marks.items() if stands}
        for name in (*change.names, TOTAL):
            self.lines[name] = state[name]
            if not state[name].rows:
                del self.lines[name]
        return [state[name] for name in (*change.names, TOTAL)]

    def kept(self) -> list[Kept]:
        return [Kept(line, 0.0, self.tried.get(name)) for name, line in self.lines.items()]

    def read(self, wanted: dict[str, tuple[int, int]], now: datetime) -> dict[str, list[Item[int]]]:
        read: dict[str, list[Item[int]]] = {}
        for name, (first, last) in wanted.items():
            assert first in self.rows[name], "what is not there is asked for"
            there = [(number, self.rows[name].get(number)) for number in range(first, last + 1)]
            read[name] = [Item(row.offset, row.key, row.load, now, size=row.size, line=name) for n, row in there if row]
        return read


KEYS = st.sampled_from(["a", "b", None])


def latest(_tries: Tries, now: datetime) -> datetime:
    """Return by when all is tried again that `settle` puts off."""
    return now + 5 * SECOND


class Waiting(RuleBasedStateMachine):
    """Joins, writes in two halves, reads, sends, crashes; `held` is the model, `true` what of it the store has."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.now, self.offset = Store(), T0, 0
        self.parked: Parked[int] = Parked((), self.now, latest=latest)
        self.held: dict[str, list[int]] = defaultdict(list)
        self.true: dict[str, list[int]] = {}
        self.tries: dict[int, int] = {}
        self.flying: list[Item[int]] = []
        self.pending: tuple[Change[int], list[Line]] | None = None
        self.buried: set[str] = set()
        self.marked: set[str] = set()  # of these, what the store has

    @precondition(lambda self: self.pending is None)
    @rule(key=KEYS, count=st.integers(1, 3), failed=st.booleans())
    def join(self, key: str | None, count: int, *, failed: bool) -> None:
        numbers = range(self.offset, self.offset + (count if key else 1))
        items = [Item(number, key, number, self.now, size=7) for number in numbers]
        self.offset = numbers.stop
        offsets = self.held[name_of("d", key, items[0].offset)]
        if failed and not offsets:
            items[0].tries = Tries(first=self.now, previous=self.now, latest=self.now, spent=1)
            self.tries[items[0].offset] = 1
        self.parked.join(items)
        offsets += numbers

    @precondition(lambda self: self.pending is None)
    @rule()
    def write(self) -> None:
        change = self.parked.change()
        assert bool(change) == self.parked.changed
        self.pending = change, self.store.write(change, self.parked.stored(change))
        self.marked = {*self.buried}
        self.true = {name: [*offsets] for name, offsets in self.held.items() if offsets}
        stored = {name: [item.offset for item in rows.values()] for name, rows in self.store.rows.items() if rows}
        assert stored == self.true

    @precondition(lambda self: self.pending)
    @rule()
    def written(self) -> None:
        assert self.pending
        self.parked.written(*self.pending)
        self.pending = None

    @precondition(lambda self: self.pending is None)
    @rule()
    def read(self) -> None:
        for name, items in self.store.read(self.parked.wanted(self.now), self.now).items():
            self.parked.load(name, items)

    @rule()
    def send(self) -> None:
        while item := self.parked.ready(self.now):
            assert item.offset == self.held[name_of("d", item.key, item.offset)][0]
            assert item.key is None or all(item.key != other.key for other in self.flying)
            assert (item.tries.spent if item.tries else 0) == self.tries.get(item.offset, 0)
            self.flying.append(item)

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 9), fate=st.sampled_from([Done(), Bury("exhausted"), None]), seconds=st.integers(1, 5))
    def settle(self, pick: int, fate: Decision | None, seconds: int) -> None:
        item = self.flying.pop(pick % len(self.flying))
        item.tries = item.tries or Tries(first=self.now, previous=self.now, latest=self.now)
        self.parked.settle(item, fate or Again(self.now + seconds * SECOND))
        if fate:
            self.held[name_of("d", item.key, item.offset)].remove(item.offset)
            key = {str(item.key)} if item.key else set()
            self.buried = self.buried - key if fate == Done() else self.buried | key
        else:
            self.tries[item.offset] = self.tries.get(item.offset, 0) + 1

    @precondition(lambda self: self.pending is None)
    @rule()
    def hurry(self) -> None:
        """Let all be due: what is first of each line, and is not under way, can be read and sent now."""
        self.parked.hurry(self.now)
        due = self.parked.next_due()
        assert due is None or due <= self.now
        while wanted := self.parked.wanted(self.now):
            for name, items in self.store.read(wanted, self.now).items():
                self.parked.load(name, items)
        stored = {name for name, rows in self.store.rows.items() if rows}
        firsts = {offsets[0] for name, offsets in self.held.items() if offsets and name in stored}
        self.send()
        assert firsts - {item.offset for item in self.flying} <= self.unwritten()

    def unwritten(self) -> set[int]:
        """Return the events that no row holds yet."""
        return {item.offset for items in self.parked.change().joining.values() for item in items}

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(ahead=st.sampled_from([0, 10**6]))
    def crash(self, ahead: int) -> None:
        """Let the next session begin, where its clock may show less than the former's."""
        kept = self.store.kept()
        self.now -= ahead * SECOND
        buried = Buried("d", self.store.marks)
        self.parked, self.flying, self.pending = Parked(kept, self.now, buried=buried, latest=latest), [], None
        self.buried = {*self.marked}
        self.held = defaultdict(list, {name: [*offsets] for name, offsets in self.true.items()})
        self.tries = {one.tried.offset: one.tried.tries.spent for one in kept if one.tried}

    @invariant()
    def what_waits_blocks_its_key(self) -> None:
        assert all(self.parked.blocks(key) == bool(self.held[name_of("d", key, 0)]) for key in ("a", "b"))

    @invariant()
    def followers_of_buried_ones_are_known(self) -> None:
        assert {key for key in ("a", "b", None) if key in self.parked.buried} == self.buried

    def teardown(self) -> None:
        """Bring all to the end: everything is sent, each key in order, and nothing is left."""
        for _ in range(60):
            if self.pending:
                self.written()
            self.write()
            self.written()
            self.wait(5)
            self.read()
            self.send()
            for _item in [*self.flying]:
                self.settle(0, Done(), 1)
        assert (self.parked.rows, self.parked.changed) == (0, False)
        assert (self.store.lines, self.store.tried) == ({}, {})
        assert len(self.store.marks) == len(self.buried)


test_only_the_first_of_a_key_is_sent_and_a_crash_brings_back_what_was_written = Waiting.TestCase
test_only_the_first_of_a_key_is_sent_and_a_crash_brings_back_what_was_written.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None
)


def test_what_was_put_off_is_not_asked_for_before_it_is_due_and_its_followers_never_before_it() -> None:
    store = Store()
    parked: Parked[int] = Parked((), T0)
    parked.join([Item(number, "a", number, T0) for number in range(3)])
    parked.written(change := parked.change(), store.write(change, parked.stored(change)))
    assert parked.wanted(T0) == {"d=a": (1, 1)}
    parked.load("d=a", store.read({"d=a": (1, 1)}, T0)["d=a"])
    item = parked.ready(T0)
    assert item is not None
    item.tries = Tries(first=T0, previous=T0, latest=T0)
    parked.settle(item, Again(T0 + 5 * SECOND))
    assert (parked.wanted(T0 + 4 * SECOND), parked.ready(T0 + 4 * SECOND)) == ({}, None)
    assert parked.wanted(T0 + 5 * SECOND) == {"d=a": (1, 1)}


def test_what_a_clock_ahead_put_off_is_due_at_the_latest_by_which_one_of_now_would_be_and_the_store_learns_it() -> None:
    ahead = T0 + 10**6 * SECOND
    tries = Tries(first=ahead, previous=ahead, latest=ahead, made=4, spent=3)
    kept = [Kept(Line("d=a", 1, 2), 0.0, Tried.of(7, ahead + 30 * SECOND, tries)), Kept(Line(TOTAL, 1, 2))]
    parked: Parked[int] = Parked(kept, T0, latest=latest)
    believed = Tried.of(7, T0 + 5 * SECOND, Tries(first=T0, previous=T0, latest=T0, made=4, spent=3))
    assert (parked.urgent, parked.change().tried) == (True, {"d=a": believed})
    assert (parked.wanted(T0 + 4 * SECOND), parked.wanted(T0 + 5 * SECOND)) == ({}, {"d=a": (1, 1)})
    soon: Parked[int] = Parked([Kept(Line("d=a", 1, 2), 0.0, believed)], T0, latest=latest)
    assert not soon.changed


def test_a_line_that_goes_on_is_read_ahead() -> None:
    store = Store()
    parked: Parked[int] = Parked((), T0)
    parked.join([Item(number, "a", number, T0) for number in range(100)])
    parked.written(change := parked.change(), store.write(change, parked.stored(change)))
    sent: list[int] = []
    reads: list[int] = []
    while wanted := parked.wanted(T0):
        for name, items in store.read(wanted, T0).items():
            parked.load(name, items)
            reads.append(len(items))
        while item := parked.ready(T0):
            sent.append(item.offset)
            parked.settle(item, Done())
    assert (sent, reads) == ([*range(100)], [1, 32, 32, 32, 3])
    assert parked.rows == 0
