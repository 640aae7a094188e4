"""The window beside a naive model that keeps every offset's fate in a dict."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.deliver.policy import AT_ONCE, Again, Bury, Done, Tries
from workers.deliver.window import LIMIT, SPAN, Item, Window, noted, part

T = TypeVar("T")
T0 = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", "c", None])
SECOND = timedelta(seconds=1)


class Model:
    """Offsets with key, state and due time; nothing clever."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.keys: dict[int, str | None] = {}
        self.due: dict[int, datetime] = {}
        self.state: dict[int, str] = {}  # open, flying, moved, finished
        self.tried: set[int] = set()

    def admit(self, offset: int, key: str | None, now: datetime) -> None:
        self.keys[offset], self.due[offset], self.state[offset] = key, now, "open"
        self.end = offset + 1

    def unfinished(self) -> list[int]:
        return [offset for offset, state in self.state.items() if state != "finished"]

    def blocked(self, offset: int) -> bool:
        key = self.keys[offset]
        return key is not None and any(other < offset and self.keys[other] == key for other in self.unfinished())

    def hurry(self, now: datetime) -> None:
        for offset, state in self.state.items():
            if state == "open" and offset in self.tried:
                self.due[offset] = min(self.due[offset], now)

    def sendable(self, now: datetime) -> list[int]:
        free = [o for o, state in self.state.items() if state == "open" and self.due[o] <= now and not self.blocked(o)]
        return sorted(free, key=lambda offset: (self.due[offset], offset))

    def next(self) -> int:
        return min(self.unfinished(), default=self.end)

    def untried(self, now: datetime) -> list[int]:
        return [offset for offset in self.sendable(now) if offset not in self.tried]

    def again(self, now: datetime) -> list[int]:
        return [offset for offset in self.sendable(now) if offset in self.tried]

    def stuck(self) -> list[int]:
        return [o for o, state in self.state.items() if state == "open" and o in self.tried]

    def take(self, offset: int) -> list[int]:
        """Move it, and all that follow it in its key."""
        key = self.keys[offset]
        follows = [o for o in self.unfinished() if o > offset and key is not None and self.keys[o] == key]
        self.state |= dict.fromkeys([offset, *follows], "finished")
        return [offset, *follows]


def ready(window: Window[int], now: datetime, room: int) -> list[Item[int]]:
    """Take as many as may be sent now, those that were never sent before others."""
    taken: list[Item[int]] = []
    while len(taken) < room and (item := window.untried(now) or window.again(now)):
        taken.append(item)
    return taken


def drawn(window: Window[int], model: Model, now: datetime, dice: float | None) -> list[Item[int]]:
    """Take one that was never sent: the first, or whichever the dice say."""
    expected = model.untried(now)
    assert window.has_untried(now) == bool(expected)
    item = window.untried(now) if dice is None else window.sample(now, dice)
    assert (item is not None) == bool(expected)
    if item is None:
        return []
    assert item.offset in (expected[:1] if dice is None else expected)
    model.state[item.offset] = "flying"
    return [item]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), KEYS, st.integers(0, 3)),
        st.tuples(st.just("ready"), st.integers(0, 4)),
        st.tuples(st.just("settle"), st.integers(0, 50), st.sampled_from(["done", "bury", "again"]), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
        st.tuples(st.just("hurry")),
        st.tuples(st.just("untried"), st.none() | st.floats(0, 1, exclude_max=True)),
        st.tuples(st.just("take"), st.integers(0, 50)),
        st.tuples(st.just("restart")),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_a_window_says_what_the_naive_model_says(steps: list[tuple[object, ...]], start: int) -> None:
    window: Window[int] = Window(start)
    model, now, flying = Model(start), T0, list[Item[int]]()
    for step in steps:
        match step:
            case ("admit", key, gap):
                offset = model.end + gap
                assert window.admit(Item(offset, key, offset, now, since=float(offset)))
                model.admit(offset, key, now)
            case ("ready", room):
                assert window.idle(now) == (not model.sendable(now))
                expected, taken = [*model.untried(now), *model.again(now)][:room], ready(window, now, room)
                assert [item.offset for item in taken] == expected
                model.state |= dict.fromkeys(expected, "flying")
                flying += taken
            case ("settle", pick, how, seconds) if flying:
                offset = failed(flying.pop(pick % len(flying)), now).offset
                again = Again(now + seconds * SECOND)
                model.tried.add(offset)
                window.settle(offset, {"done": Done(), "bury": Bury("exhausted"), "again": again}[how])
                model.state[offset] = "open" if how == "again" else "finished"
                model.due[offset] = again.at if how == "again" else now
            case ("untried", dice):
                flying += drawn(window, model, now, dice)
            case ("take", pick) if stuck := window.stuck(now + SECOND, now):
                assert sorted(item.offset for item in stuck) == model.stuck()
                taken = window.take(stuck[pick % len(stuck)])
                assert [item.offset for item in taken] == model.take(taken[0].offset)
                window.finish(taken)
            case ("wait", seconds):
                now += seconds * SECOND
            case ("hurry",):
                window.hurry(now)
                model.hurry(now)
            case ("restart",):
                window, model, flying = restarted(window, model, now)
        assert window.next() == model.next()
        assert window.open == len(model.unfinished())
        assert window.idle(now) == (not model.sendable(now))
        assert window.oldest() == (model.unfinished() or [None])[0]


def restarted(window: Window[int], model: Model, now: datetime) -> tuple[Window[int], Model, list[Item[int]]]:
    """Begin a new session from the note: exactly the unfinished offsets come again."""
    fresh: Window[int] = Window.from_note(window.next(), window.note(8))
    again = Model(window.next())
    for offset, key in model.keys.items():
        taken = fresh.admit(Item(offset, key, offset, now, since=float(offset)))
        assert taken == (offset in model.unfinished())
        if taken:
            again.admit(offset, key, now)
    again.end = max(again.end, model.end)
    fresh.skip(model.end - 1)
    return fresh, again, []


def test_a_note_of_a_full_window_fits_and_brings_back_every_hole() -> None:
    window: Window[int] = Window(5)
    for offset in range(5, 5 + LIMIT):
        window.admit(Item(offset, None, offset, T0))
    for item in ready(window, T0, LIMIT):
        if item.offset % 3:
            window.settle(item.offset, Done())
    assert window.free == LIMIT - len(range(6, 5 + LIMIT, 3))  # those open
    note = window.note(7)
    assert (len(note) <= 145, noted(note)) == (True, 7)
    fresh: Window[int] = Window.from_note(window.next(), note)
    taken = [offset for offset in range(5, 5 + LIMIT) if fresh.admit(Item(offset, None, offset, T0))]
    assert taken == [offset for offset in range(6, 5 + LIMIT) if offset % 3 == 0]


def test_a_note_survives_a_session_that_saw_only_its_beginning() -> None:
    window: Window[int] = Window(0)
    for offset in range(10):
        window.admit(Item(offset, None, offset, T0))
    for item in ready(window, T0, 10)[1:]:
        window.settle(item.offset, Done())
    second: Window[int] = Window.from_note(0, window.note(1))
    second.admit(Item(0, None, 0, T0))
    third: Window[int] = Window.from_note(0, second.note(2))
    assert [offset for offset in range(12) if third.admit(Item(offset, None, offset, T0))] == [0, 10, 11]


def test_an_operators_reset_to_before_the_note_brings_everything_again() -> None:
    window: Window[int] = Window(100)
    window.admit(Item(100, None, 100, T0))
    window.admit(Item(101, None, 101, T0))
    ready(window, T0, 2)
    window.settle(101, Done())
    back: Window[int] = Window.from_note(50, window.note(3))
    assert all(back.admit(Item(offset, None, offset, T0)) for offset in range(50, 103))


@given(st.binary(max_size=400), st.integers(0, 2**62))
def test_any_foreign_note_is_survived(note: bytes, start: int) -> None:
    window: Window[int] = Window.from_note(start, note)
    window.skip(start + 1)
    assert window.next() == start + 2


def test_bytes_held_bound_the_window_as_well() -> None:
    window: Window[int] = Window(0)
    window.admit(Item(0, None, 0, T0, size=9 * 1024 * 1024))
    assert window.free == 0
    ready(window, T0, 1)
    window.settle(0, Done())
    assert window.free == LIMIT


def spanning(count: int, *keys: str) -> Window[int]:
    """Return a window of as many events, of the keys in turn; the first of each key is in flight."""
    window: Window[int] = Window(0)
    for offset in range(count):
        window.admit(Item(offset, keys[offset % len(keys)], offset, T0))
    assert len(ready(window, T0, count)) == len(keys)
    return window


def test_one_that_hangs_lets_a_window_go_on_for_as_long_as_its_note_can_tell() -> None:
    window = spanning(2, "hangs", "k")
    window.settle(1, Done())
    while window.free:
        assert not window.held_up(T0)
        window.admit(Item(window.end, "k", 0, T0))
        window.settle(ready(window, T0, 1)[0].offset, Done())
    assert window.end == SPAN
    assert window.held_up(T0)
    assert Window.from_note(window.next(), window.note(1)).note(1) == window.note(1)


def test_a_key_is_slow_that_has_others_behind_it_while_those_of_its_neighbours_are_done() -> None:
    window = spanning(90, "slow", *(f"k{number}" for number in range(8)))
    assert window.slow() is None  # nobody is faster than the others
    for turn in range(9):
        for key in range(1, 9):
            window.settle(9 * turn + key, Done())
            ready(window, T0, 1)
    assert window.slow() == "slow"
    window.settle(0, Again(T0))
    assert window.slow() is None  # it has failed, and is at rest
    first = window.first("slow")
    assert first
    assert [item.offset for item in window.take(first)] == list(range(0, 90, 9))
    assert window.first("slow") is None


def test_followers_of_a_buried_event_are_single_until_one_succeeds() -> None:
    window: Window[int] = Window(0)
    for offset in range(4):
        window.admit(Item(offset, "k", offset, T0))
    fates = [Bury("refused"), Bury("follower"), Done(), Done()]
    singles = []
    for fate in fates:
        (item,) = ready(window, T0, 9)
        singles.append(item.key in window.buried)
        window.settle(item.offset, fate)
    assert singles == [False, True, True, False]


def failed(item: Item[int], first: datetime) -> Item[int]:
    item.tries = Tries(first=first, previous=first, latest=first)
    return item


def test_a_key_whose_first_is_stuck_leaves_the_queues_with_all_that_follow_and_counts_once_it_is_finished() -> None:
    window: Window[int] = Window(0)
    for offset, key in enumerate(["a", "b", "a", None, "a"]):
        window.admit(Item(offset, key, offset, T0))
    flying = {item.offset: failed(item, T0) for item in ready(window, T0, 9)}
    assert [*flying] == [0, 1, 3]
    assert window.stuck(T0 + SECOND, T0) == []  # they are in flight
    window.settle(0, Again(T0 + SECOND))
    window.settle(1, Done())
    window.settle(3, Again(T0 + 9 * SECOND))
    assert [item.offset for item in window.stuck(T0 + SECOND, T0)] == [0, 3]
    assert window.stuck(T0, T0) == []
    taken = [[item.offset for item in window.take(item)] for item in window.stuck(T0 + SECOND, T0)]
    assert (taken, window.stuck(T0 + SECOND, T0), ready(window, T0 + 99 * SECOND, 9)) == ([[0, 2, 4], [3]], [], [])
    assert window.hold(Item(5, "a", 5, T0))
    assert not window.hold(Item(5, "a", 5, T0))
    assert (window.next(), window.open, ready(window, T0 + 99 * SECOND, 9)) == (0, 5, [])
    window.finish([flying[0], flying[3]])
    assert (window.next(), window.open) == (2, 3)
    window.admit(Item(6, "a", 6, T0))  # what comes when nothing of the key waits any more
    assert [item.offset for item in ready(window, T0, 9)] == [6]


class Counting(int):
    """An offset that counts how often anything looks at one."""

    looked = 0

    def __hash__(self) -> int:
        return self._counted(int.__hash__(self))

    def __eq__(self, other: object) -> bool:
        return self._counted(int.__eq__(self, other))

    def __ne__(self, other: object) -> bool:
        return self._counted(int.__ne__(self, other))

    def __lt__(self, other: int) -> bool:
        return self._counted(int.__lt__(self, other))

    def _counted(self, answer: T) -> T:
        Counting.looked += 1
        return answer


def test_a_window_full_of_failing_keys_is_emptied_in_steps_as_small_as_what_each_takes() -> None:
    window: Window[int] = Window(0)
    for offset in range(LIMIT):
        window.admit(Item(Counting(offset), f"k{offset}", offset, T0))
    for item in ready(window, T0, LIMIT):
        failed(item, T0)
        window.settle(item.offset, Again(T0 + SECOND))
    stuck, Counting.looked = window.stuck(T0 + SECOND, T0), 0
    assert [item.offset for one in stuck for item in window.take(one)] == [*range(LIMIT)]
    assert Counting.looked < 50 * LIMIT, "each looked at all others"


def test_what_was_never_sent_is_found_among_what_failed() -> None:
    window: Window[int] = Window(0)
    window.admit(Item(0, "a", 0, T0))
    (first,) = ready(window, T0, 1)
    failed(first, T0)
    window.settle(0, Again(T0))
    assert (window.has_untried(T0), window.untried(T0)) == (False, None)
    window.admit(Item(1, "b", 1, T0))
    window.admit(Item(2, "a", 2, T0))  # follows one that failed
    assert window.has_untried(T0)
    fresh = window.untried(T0)
    assert fresh is not None
    assert (fresh.offset, window.untried(T0)) == (1, None)
    assert [item.offset for item in ready(window, T0, 9)] == [0]
    window.settle(1, Done())
    assert window.next() == 0


def test_what_was_refused_together_goes_in_halves_as_far_as_it_may_go() -> None:
    window: Window[int] = Window(0)
    for offset in range(6):
        window.admit(Item(offset, f"k{offset}", offset, T0))
    items = ready(window, T0, 5)
    part(items)
    for item in items:
        item.tries = Tries(first=T0, previous=T0, latest=T0, shared=1, alone=False)
        window.settle(item.offset, Again(T0 + SECOND if item.offset == 1 else AT_ONCE, spent=False, apart=True))
    assert [item.offset for item in window.stuck(T0 + SECOND, T0)] == [1], "the others wait for their turn only"
    sent = []
    while first := window.untried(T0):
        assert window.another(T0, lambda load: load < 5) is None, "nobody joins who was not refused with them"
        sent.append([item.offset for item in (first, *window.fellows(first, T0))])
    assert sent == [[0, 2], [3, 4], [5]]
    assert window.idle(T0)
    assert [item.offset for item in ready(window, T0 + SECOND, 9)] == [1]
