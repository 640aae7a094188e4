"""`GET /v1/events`: what a reader gets, in which order, and where it goes on."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.admin import cursor
from ingress.admin.events import AT_ONCE
from ingress.admin.forward import Stretch, in_order
from ingress.admin.looking import LOOK_S
from ingress.errors import Unprocessable
from schemas.errors import Rejected
from schemas.topics import EVENT_RECORDED
from tests.ingress.looking import NOW, Desk, desk, event, expire, recorded
from tests.ingress.test_admin import bearer
from workers.bus.contract import Held, Record, Span

EVENTS = "/v1/events"
ACCOUNTS = ("a1", "a2", "a3", "a4", "a5")


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def ids(page: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["id"] for one in page["events"]]


async def all_pages(at: Desk, limit: int, **query: object) -> list[str]:
    page = await at.told(EVENTS, from_="first", limit=limit, **query)
    seen = ids(page)
    while page["more"]:
        page = await at.told(EVENTS, after=page["next"], limit=limit, **query)
        seen += ids(page)
    return seen


async def test_without_a_cursor_it_is_what_is_new(at: Desk) -> None:
    await at.publish(recorded(event(1)))
    page = await at.told(EVENTS)
    assert (ids(page), page["more"], page["expired"], page["unreadable"]) == ([], False, 0, 0)
    await at.publish(recorded(event(2)), recorded(event(3, account="a2")))
    assert ids(await at.told(EVENTS, after=page["next"])) == ["r2", "r3"]
    assert ids(await at.told(EVENTS, after=page["next"])) == ["r2", "r3"], "a cursor is the reader's own"


@pytest.mark.parametrize("limit", [1, 2, 5, 7, 100])
async def test_all_accounts_come_in_the_order_in_which_they_were_recorded(at: Desk, limit: int) -> None:
    await at.publish(*(recorded(event(number, account=ACCOUNTS[number * number % 5])) for number in range(40)))
    assert await all_pages(at, limit) == [f"r{number}" for number in range(40)]


async def test_it_begins_at_a_time(at: Desk) -> None:
    await at.publish(*(recorded(event(number, account=ACCOUNTS[number % 5])) for number in range(10)))
    assert ids(await at.told(EVENTS, from_="2026-02-13T14:40:04+01:00")) == ["r7", "r8", "r9"]


async def test_what_is_wanted_is_said_in_the_dialect_of_destinations(at: Desk) -> None:
    kinds = ("motion_detected", "button_press")
    await at.publish(*(recorded(event(number, kind=kinds[number % 2], account=ACCOUNTS[number % 5])) for number in range(10)))
    wanted = msgspec.json.encode({"all": [{"suffix": {"type": "_press"}}, {"not": {"exact": {"accountid": "a2"}}}]}).decode()
    assert await all_pages(at, 2, filter=wanted) == ["r3", "r5", "r7", "r9"]


async def test_pages_are_bounded_where_nothing_is_wanted(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.admin.looking.SCANNED", 20)
    await at.publish(*(recorded(event(number, account=ACCOUNTS[number % 5])) for number in range(50)))
    wanted = '{"exact": {"id": "r49"}}'
    page = await at.told(EVENTS, from_="first", filter=wanted, wait_s=20)
    assert (ids(page), page["more"]) == ([], True)
    assert await all_pages(at, 100, filter=wanted) == ["r49"]


async def test_pages_are_bounded_in_bytes(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.admin.looking.BYTES", 1_000)
    await at.publish(*(recorded(event(number)) for number in range(30)))
    assert 2 < len(ids(await at.told(EVENTS, from_="first"))) < 20
    assert await all_pages(at, 100) == [f"r{number}" for number in range(30)]


async def test_data_is_shown_to_the_scope_bodies_alone(at: Desk) -> None:
    await at.publish(recorded(event(1, user="u-42")))
    bare = await at.told(EVENTS, "read", from_="first")
    whole = await at.told(EVENTS, "read", "bodies", from_="first")
    assert (bare["data"], whole["data"]) == (False, True)
    [shown], [other] = bare["events"], whole["events"]
    assert shown == {name: value for name, value in other.items() if name not in {"data", "datacontenttype"}}
    assert (other["data"]["payload"], other["sequence"]) == ({"meta": {"request_id": "r1"}}, "0" * 20)
    assert (shown["specversion"], shown["partneruserid"], shown["linked"]) == ("1.0", "u-42", True)


async def test_it_waits_for_what_is_new(at: Desk) -> None:
    cursor_ = (await at.told(EVENTS))["next"]
    waiting = asyncio.create_task(at.told(EVENTS, after=cursor_, wait_s=20))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await at.publish(recorded(event(1)))
    assert ids(await asyncio.wait_for(waiting, 5)) == ["r1"]
    began = asyncio.get_running_loop().time()
    assert ids(await at.told(EVENTS, after=(await at.told(EVENTS))["next"], wait_s=1)) == []
    assert 0.5 < asyncio.get_running_loop().time() - began < 5


async def test_where_much_comes_a_reader_is_not_answered_for_each(at: Desk) -> None:
    page, seen, asked, began = await at.told(EVENTS), list[str](), 0, asyncio.get_running_loop().time()

    async def come() -> None:
        for number in range(1_000):
            await at.publish(recorded(event(number, account=ACCOUNTS[number % 5])))
            await asyncio.sleep(0.001)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(come())
        while len(seen) < 1_000:
            page, asked = await at.told(EVENTS, after=page["next"], wait_s=20, limit=500), asked + 1
            seen += ids(page)
    assert sorted(seen) == sorted(f"r{number}" for number in range(1_000))
    assert asked <= 2 + (asyncio.get_running_loop().time() - began) / LOOK_S


async def test_few_may_wait_at_once_and_who_hangs_up_makes_room(at: Desk) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(at.told(EVENTS, wait_s=20)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.5)
        assert await at.refused(EVENTS) == (
            429,
            "4 callers wait for events already, and no more may at a time: ask again in a moment.",
        )
        async with at.client.get(EVENTS, headers=bearer("read")) as answer:
            assert answer.headers["Retry-After"] == "2"
        waiting[0].cancel()  # closes its connection
        async with asyncio.timeout(10):
            while (await at.get(EVENTS))[0] != 200:  # noqa: ASYNC110 - the server learns of it by itself
                await asyncio.sleep(0.05)
        at.leaving.set()


async def test_when_the_process_leaves_nobody_is_kept_waiting(at: Desk) -> None:
    waiting = asyncio.create_task(at.told(EVENTS, wait_s=20))
    await asyncio.sleep(0.3)
    at.leaving.set()
    assert ids(await asyncio.wait_for(waiting, 3)) == []


async def test_what_has_expired_is_counted_and_what_is_no_event_too(at: Desk) -> None:
    start = (await at.told(EVENTS))["next"]
    await at.publish(*(recorded(event(number)) for number in range(6)))
    expire(at.bus, EVENT_RECORDED.name, "a1", 4)
    await at.publish(Record(topic=EVENT_RECORDED.name, key=b"a1", value=b"not ours"), recorded(event(6)))
    page = await at.told(EVENTS, after=start)
    assert (ids(page), page["expired"], page["unreadable"]) == (["r4", "r5", "r6"], 4, 1)
    assert (await at.told(EVENTS, after=page["next"]))["expired"] == 0


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"after": "!"}, 400, "`after` is no cursor"),
        ({"after": "é"}, 400, "`after` is no cursor"),
        ({"after": "bm90IGpzb24"}, 400, "`after` is no cursor"),
        ({"after": base64.urlsafe_b64encode(b"[-1]").decode()}, 400, "`after` is no cursor"),
        ({"after": base64.urlsafe_b64encode(b"[0]").decode()}, 422, "belongs to another topic"),
        ({"after": cursor.written(dict.fromkeys(range(12), 7))}, 422, "lies behind the end"),
        ({"after": cursor.written(dict.fromkeys(range(12), 0)), "from_": "first"}, 400, "Say `after` or `from`, not both."),
        ({"from_": "yesterday"}, 400, "A time is written with its offset"),
        ({"from_": "2026-02-13T00:00:00"}, 400, "A time is written with its offset"),
        ({"filter": "{"}, 422, "The filter is no JSON"),
        ({"filter": "[1]"}, 422, "The filter cannot be used: must be a table with one of exact"),
        ({"filter": '{"exact": {"typ": "x"}}'}, 422, "'typ' is no attribute of an event"),
        ({"filter": "[" * 1_900}, 422, "The filter "),
        ({"limit": 501}, 400, "The query is not understood"),
        ({"wait_s": 21}, 400, "The query is not understood"),
        ({"surprise": 1}, 400, "The query is not understood"),
    ],
)
async def test_what_cannot_be_answered_is_told_in_words(at: Desk, query: dict[str, object], status: int, words: str) -> None:
    found, said = await at.refused(EVENTS, **query)
    assert (found, words in said) == (status, True), said


@given(st.lists(st.integers(min_value=0, max_value=2**40), min_size=1, max_size=64))
def test_a_cursor_is_read_as_it_was_written(offsets: list[int]) -> None:
    spans = [Span(index, 0, 2**40) for index in range(len(offsets))]
    assert cursor.read(cursor.written(dict(enumerate(offsets))), spans) == dict(enumerate(offsets))


@given(st.text(max_size=40))
def test_whatever_is_given_as_a_cursor_is_taken_or_refused(text: str) -> None:
    try:
        found = cursor.read(text, [Span(0, 0, 9)])
    except (Rejected, Unprocessable):
        return
    assert 0 <= found[0] <= 9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40), st.integers(1, 9), st.integers(0, 3))
def test_read_in_pieces_it_is_the_whole_in_order(moves: list[tuple[int, int]], limit: int, stuck: int) -> None:
    """Whatever lies in which index, each record comes once, in order of time, and each index in order of offset."""
    logs: list[list[int]] = [[], [], [], []]
    now = 0
    for index, step in moves:
        now += step
        logs[index].append(now)
    at, seen = [0] * 4, list[tuple[int, int]]()
    while behind := [index for index in range(4) if at[index] < len(logs[index])]:
        read = {index: logs[index][at[index] :][:limit] for index in behind}
        whole = {index: at[index] + len(read[index]) == len(logs[index]) and index != stuck for index in behind}
        stretches = [Stretch([_held(index, time) for time in read[index]], whole=whole[index]) for index in behind]
        came = [*in_order(stretches)]
        assert came, "there is always progress"
        for held in came:
            seen.append((held.offset, held.index))
            at[held.index] += 1
    assert [time for time, _ in seen] == sorted(time for log in logs for time in log)
    assert [[time for time, index in seen if index == one] for one in range(4)] == logs


def _held(index: int, time: int) -> Held:
    moment = NOW + timedelta(seconds=time)
    return Held(topic="t", key=b"", value=b"", index=index, offset=time, time=moment)
