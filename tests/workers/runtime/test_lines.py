from itertools import count

from hypothesis import example, given
from hypothesis import strategies as st

from workers.runtime.lines import DOUBTS, TOTAL, Doubt, Line, Lines, above, cut, levelled

KEYS = st.sampled_from("AB")
DEEDS = st.one_of(
    st.tuples(st.just("add"), KEYS),
    st.tuples(st.just("leave"), KEYS, st.integers(0, 4)),
    st.tuples(st.just("doubt"), KEYS, st.integers(0, 4)),
    st.tuples(st.sampled_from(["drop", "drop_doubted"]), KEYS),
)


@example([("drop", "A"), ("drop_doubted", "A")])
@given(st.lists(DEEDS, max_size=40))
def test_a_line_is_what_a_list_would_be(deeds: list[tuple[str, ...]]) -> None:
    lines, naive, names = Lines([Line("A", 3, 4), Line(TOTAL, 7, 8)]), {"A": [b"x", b"y"], "B": list[bytes]()}, count()
    doubted, vanished = set[bytes](), set[tuple[str, int]]()
    for deed, key, *more in deeds:
        if deed == "add":
            record = b"%d" % next(names)
            lines.add(key, record, 0.0)
            naive[key].append(record)
        elif deed == "leave":
            upto = int(more[0])
            assert lines.leave(key, lines[key].first + upto - 1) == len(naive[key][:upto])
            del naive[key][:upto]
        elif deed == "doubt":
            through = lines[key].first + int(more[0]) - 1
            lines.doubt(key, 1.0, "first", lambda _doubt, sequence, _record, through=through: sequence <= through)
            doubted = (doubted - {*naive[key]}) | {*naive[key][: int(more[0])]}
        else:
            before = lines[key]
            left = [record for record in naive[key] if deed == "drop_doubted" and record not in doubted]
            assert getattr(lines, deed)(key) == len(naive[key]) - len(left)
            naive[key] = left
            vanished |= {(key, at) for at in range(before.first, lines[key].first)}
    assert {key: lines[key].rows for key in naive} == {key: len(rows) for key, rows in naive.items()}
    assert lines[TOTAL].rows == sum(map(len, naive.values()))
    for key, rows in naive.items():
        added = {row.sequence: row.record for row in lines.added if row.key == key}
        line = lines[key]
        assert [added.get(at, rows[at - line.first]) for at in range(line.first, line.last + 1)] == rows
        assert not [at for at in added if at > line.last]
        first, last = lines.dropped.get(key, (1, 0))
        gone = range(first, last + 1)
        assert not [at for at in gone if line.first <= at <= line.last or at in added]
        assert {at for name, at in vanished if name == key} <= {*gone}


def test_who_begins_to_wait_anew_is_not_ready_because_a_former_one_was() -> None:
    lines = Lines([Line("A", 1, 1, ready=True), Line(TOTAL, 1, 1)])
    lines.add("A", b"", 0.0)
    assert lines["A"].ready
    lines.drop("A")
    lines.add("A", b"", 0.0)
    assert not lines["A"].ready


def test_a_line_that_ends_as_it_stood_is_not_written() -> None:
    lines = Lines([Line("A", 1, 2), Line(TOTAL, 1, 2)])
    lines.set_ready("A", ready=False)
    lines.set_ready("B", ready=True)  # nobody waits there
    assert lines.changed == []
    lines.set_ready("A", ready=True)
    assert lines.changed == ["A"]


def test_too_long_a_line_loses_its_oldest_unless_it_may_go_anyway() -> None:
    assert above([Line("A", 5, 9), Line("B", 1, 3), Line("C", 1, 9, ready=True)], 3) == {"A": 6}


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans()), max_size=6), st.integers(0, 30))
def test_the_longest_lines_are_levelled(sizes: list[tuple[int, int, bool]], excess: int) -> None:
    lines = [Line(str(at), first, first + rows - 1, ready) for at, (first, rows, ready) in enumerate(sizes)]
    mine = {line.key: line.rows for line in lines if not line.ready}
    leaving = levelled(lines, excess)
    lost = {line.key: leaving[line.key] - line.first + 1 for line in lines if line.key in leaving}
    assert leaving.keys() == lost.keys() <= mine.keys()
    assert sum(lost.values()) == min(excess, sum(mine.values()))
    left = {key: rows - lost.get(key, 0) for key, rows in mine.items()}
    assert all(left[key] + 1 >= max(left.values()) for key in lost)  # nobody lost one while another had more


def test_a_plan_is_cut_to_what_one_step_can_take() -> None:
    lines = Lines([Line("A", 5, 9), Line("B", 1, 3), Line("C", 4, 4)])
    plan = {"A": 6, "B": 9, "C": 4}
    assert cut(plan, lines, 9) == {"A": (5, 6), "B": (1, 3), "C": (4, 4)}
    assert cut(plan, lines, 4) == {"A": (5, 6), "B": (1, 2)}
    assert cut({"A": 4, "D": 7}, lines, 9) == {}  # gone, and never there


def test_each_removal_is_a_doubt_and_through_where_they_are_about_all_is_known() -> None:
    """Records are of the app of their letter."""

    def about(doubt: Doubt, sequence: int, record: bytes | None) -> bool:
        return (record or b"oonnon"[sequence - 1 : sequence]).decode() == doubt.app

    lines = Lines([Line("A", 1, 6), Line(TOTAL, 1, 6)])
    lines.add("A", b"n", 0.0)
    lines.doubt("A", 2.0, "n", about)
    assert (lines["A"].sure, lines["A"].doubts) == (0, (Doubt("n", 2.0, 7),))
    lines.doubt("A", 1.0, "o", about)
    assert lines["A"].sure == 7
    lines.add("A", b"o", 0.0)
    assert lines["A"].sure == 7
    lines.doubt("A", 2.0, "n", about)
    assert lines["A"].doubts == (Doubt("o", 1.0, 7), Doubt("n", 2.0, 8)), "told again"
    lines.doubt("A", 9.0, "n", about)
    assert lines["A"].doubts[1:] == (Doubt("n", 2.0, 8), Doubt("n", 9.0, 8)), "another connection by the same app"
    assert (lines["A"].sure, lines.drop_doubted("A")) == (7, 7)
    for at in range(2 * DOUBTS):
        lines.doubt("A", 10.0 + at, "n", about)
    assert len(lines["A"].doubts) == DOUBTS
    lines.leave("A", 8)
    lines.add("A", b"o", 0.0)
    lines.doubt("A", 3.0, "x", about)
    assert lines["A"].doubts == (Doubt("x", 3.0, 9),), "what the others are about has left"
