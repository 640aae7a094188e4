"""When a process reads its configuration anew, and what it says of it: by rows, for whoever asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy import migrations, reload, settings
from deploy.command.reload import backlogs, lines, well
from deploy.demo.partner import Service
from deploy.demo.ring.state import Client
from deploy.demo.scene import environment
from deploy.reload import Known, Reload
from deploy.settings import Settings
from ingress.admin.reload import met, shown
from schemas.topics import declared
from workers.bus import memory
from workers.bus.contract import Bus
from workers.runtime import reloads
from workers.runtime.clock import utc_now
from workers.runtime.database import Database, connect
from workers.runtime.reloads import Reloads, Told, Wish, wished
from workers.runtime.storefault import StoreUnavailable

DESTINATION = '[[destination]]\nname = "{name}"\nurl = "https://{name}.example.com/"\nsecret_env = "SECRET"\n'
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
GIVEN = environment(Client("c", "s" * 32, "k" * 32), "e" * 32, Service(SECRET), Service(SECRET)) | {
    "SECRET": SECRET,
    "PASSCODE": "a passcode of the first day",
    "RINGHOOK_PUBLIC_URL": "https://ringhook.example.com",
}
SIGNIN = '[signin]\nkind = "dev"\npasscode_env = "PASSCODE"\n'
BEGAN = datetime(2026, 2, 13, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@dataclass
class Rig:
    folder: Path
    database: Database
    bus: Bus
    reads: list[Settings] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, *names: str) -> None:
        (self.folder / "ringhook.toml").write_text("\n".join([SIGNIN, *(DESTINATION.format(name=name) for name in names)]))

    def read(self) -> Settings:
        self.reads.append(settings.read("up", GIVEN, self.folder))
        return self.reads[-1]

    def reload(self, copy: str = "one", began: datetime = BEGAN) -> Reload:
        chosen = settings.read("up", GIVEN, self.folder)
        known = Known(set(chosen.destinations), set())
        return Reload(self.read, chosen, self.bus, self.database, known, None, copy, began, self.asked)

    async def ask(self, name: str, seconds: float) -> None:
        await Reloads(self.database).ask(Wish(name, "ada", at(seconds).timestamp()))

    async def told(self, seconds: float) -> dict[str, tuple[str, object]]:
        return {one.copy: (one.wish, one.said.get("problem")) for one in await Reloads(self.database).told(at(seconds))}


@pytest.fixture
async def rig(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Rig]:
    await migrations.upgrade(sqlite_url)
    async with (
        connect(sqlite_url) as database,
        memory.connect("memory:", namespace="t", topics=declared(["alerts"])) as bus,
    ):
        made = Rig(tmp_path, database, bus)
        made.write("alerts")
        yield made


async def test_a_wish_is_met_once_and_answered_by_each_process(rig: Rig) -> None:
    one, two = rig.reload(), rig.reload("two")
    for each in (one, two):
        assert await each(at(0)) == timedelta(seconds=1)
    assert await rig.told(1) == {"one": ("", None), "two": ("", None)}
    rig.write("alerts", "crm")
    await rig.ask("w1", 2)
    await one(at(3))
    assert (await rig.told(3), one.known.destinations) == ({"one": ("w1", None), "two": ("", None)}, {"alerts", "crm"})
    assert "delivery.crm.dead" in one.known.dead
    await two(at(4))
    await one(at(5))
    assert await rig.told(5) == {"one": ("w1", None), "two": ("w1", None)}
    assert len(rig.reads) == 2


async def test_what_was_wished_before_the_start_is_met_by_the_start(rig: Rig) -> None:
    await rig.ask("old", -3600)
    one = rig.reload()
    await one(at(0))
    assert (await rig.told(1), rig.reads) == ({"one": ("old", None)}, [])
    await rig.ask("just before", -5)
    late = rig.reload("late")
    await late(at(0))
    assert len(rig.reads) == 1, "it may have come while the files were read: reading once more harms nobody"


async def test_a_mistake_is_told_and_changes_nothing(rig: Rig) -> None:
    one = rig.reload()
    await one(at(0))
    (rig.folder / "ringhook.toml").write_text(SIGNIN + '[[destination]]\nnane = "crm"\n')
    rig.asked.set()
    await one(at(1))
    ((_, problem),) = (await rig.told(1)).values()
    assert "ringhook.toml" in str(problem)
    assert "nane" in str(problem)
    assert one.known.destinations == {"alerts"}
    assert not rig.asked.is_set()
    rig.write("alerts", "crm")
    rig.asked.set()
    await one(at(2))
    assert (await rig.told(2), one.known.destinations) == ({"one": ("", None)}, {"alerts", "crm"})


async def test_where_the_store_is_away_the_wish_is_met_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig.reload()
    await one(at(0))
    await rig.ask("w1", 1)
    with monkeypatch.context() as away:
        away.setattr(rig.bus, "declare", unavailable)
        with pytest.raises(StoreUnavailable):
            await one(at(2))
    await one(at(3))
    assert (await rig.told(3), len(rig.reads)) == ({"one": ("w1", None)}, 2)


async def unavailable(_topics: object) -> None:
    raise StoreUnavailable("away")


async def test_who_ends_is_waited_for_by_nobody_and_who_died_not_for_long(rig: Rig) -> None:
    one, two = rig.reload(), rig.reload("two")
    await one(at(0))
    await two(at(0))
    await one.leave()
    assert [*await rig.told(14)] == ["two"]
    await two(at(5))
    assert [*await rig.told(19)] == ["two"]
    assert [*await rig.told(21)] == []


async def test_what_takes_long_is_told_meanwhile_and_is_fresh_when_it_is_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one, rows, ended = rig.reload(), Reloads(rig.database), asyncio.Event()
    await one(at(0))
    await rig.ask("w1", 1)
    monkeypatch.setattr(reload, "TELL_S", 0.02)
    monkeypatch.setattr(rig.bus, "declare", lambda _topics: ended.wait())
    meeting = asyncio.create_task(one(at(2)))
    seen = list[float]()
    async with asyncio.timeout(10):
        while len(seen) < 3:
            await asyncio.sleep(0.01)
            (told,) = await rows.told(at(2))
            heard, begun = shown(told, Wish("w1", "ada", 0), at(2))["heard"], told.said.get("begun")
            seen += [told.seen_at] if begun and told.seen_at not in seen else []
            assert (heard, begun) in {(False, None), (False, "w1")}
    await asyncio.sleep(0.2)
    ended.set()
    await meeting
    (told,) = await rows.told(at(2))
    assert (told.wish, "begun" in told.said) == ("w1", False)
    assert told.seen_at >= seen[-1] + 0.1, "what it says then is not as old as its beginning"


async def test_who_was_there_and_falls_silent_is_not_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloads, "LIVE", timedelta(seconds=0.3))
    wish = wished("ada", utc_now().timestamp())
    async with rig.database.begin() as connection:
        for copy, role, heard in (("a", "admin", wish.id), ("d", "deliver", "")):
            await reloads.tell(connection, Told(copy, role, heard, NOTHING, utc_now().timestamp()))
        await reloads.tell(connection, Told("gone", "deliver", "", NOTHING, utc_now().timestamp() - 1))
    told = await met(Reloads(rig.database), wish)
    said = [shown(one, wish, utc_now()) for one in told]
    assert [(one["copy"], one["heard"]) for one in said] == [("a", True), ("d", False)]
    assert "has not said" in next(lines(said[1]))
    assert not well(said[1])


async def test_nobody_is_waited_for_who_ends_meanwhile(rig: Rig) -> None:
    one = rig.reload()
    await one(utc_now())
    wish = wished("ada", utc_now().timestamp())
    waiting = asyncio.create_task(met(Reloads(rig.database), wish))
    await asyncio.sleep(0.1)
    await one.leave()
    async with asyncio.timeout(5):
        assert await waiting == []


NOTHING: dict[str, object] = {"added": [], "changed": [], "removed": [], "kept": {}, "later": [], "problem": None}


def test_it_is_said_in_words() -> None:
    one = {"copy": "c1", "role": "deliver", "heard": True, **NOTHING}
    assert [*lines(one)] == ["deliver (c1): nothing to change"]
    assert [*lines(one | {"added": ["a", "b"], "removed": ["c"]})] == ["deliver (c1): added a, b; no longer sent to: c"]
    assert [*lines(one | {"later": ["routes", "tokens"]})] == [
        "deliver (c1): [[route]], [[token]] changed too, which takes a restart"
    ]
    bad = one | {"problem": "two\nlines \x1b[2J"}
    assert [*lines(bad)][1:] == ["  two", "  lines \\u001b[2J"]
    mute = {"copy": "c1", "role": "admin", "heard": False, "begun": False, "silent": False}
    assert "has not heard" in next(lines(mute))
    busy, dead = mute | {"begun": True}, mute | {"begun": True, "silent": True}
    assert "is at it" in next(lines(busy))
    assert "has not said" in next(lines(dead))
    kept = one | {"kept": {"crm": 3}}
    assert [*lines(kept)] == ["deliver (c1): crm stays as it is"], "it may be paused, and is sent nothing then"
    assert backlogs([kept, mute, one | {"kept": {"crm": 7}}]) == {"crm": 7}
    assert [well(each) for each in (one, bad, mute, busy, dead, kept)] == [True, False, False, False, False, False]


async def test_a_process_that_cannot_read_just_now_is_known_to_be_there(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.ask("w1", 1)
    monkeypatch.setattr(rig.bus, "declare", unavailable)
    with pytest.raises(StoreUnavailable):
        await rig.reload()(at(2))
    assert await rig.told(2) == {"one": ("", None)}


async def test_a_later_wish_answers_for_an_earlier_one_and_not_the_other_way_round(rig: Rig) -> None:
    first, second = wished("ada", at(1).timestamp()), wished("bob", at(2).timestamp(), ["crm"])
    one = rig.reload()
    await one(at(0))
    for wish in (first, second):
        await Reloads(rig.database).ask(wish)
    assert [shown(told, first, at(2))["heard"] for told in await Reloads(rig.database).told(at(2))] == [False]
    await one(at(3))
    (told,) = await Reloads(rig.database).told(at(3))
    assert (shown(told, first, at(3))["heard"], shown(told, second, at(3))["heard"]) == (True, True)
    assert not shown(told, wished("cyd", at(4).timestamp()), at(4))["heard"]
    assert "problem" not in shown(told, wished("cyd", at(4).timestamp()), at(4))
