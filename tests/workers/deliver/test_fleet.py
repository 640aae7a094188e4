"""Which destinations are delivered to may change while the process runs: the others notice nothing, and an error ends all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from workers.bus.contract import Stop
from workers.deliver.fleet import Change, Fleet, change
from workers.runtime.supervise import Fatal, Worker


@dataclass(frozen=True)
class Service:
    name: str
    made_of: object = 1


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    breaks: asyncio.Event = field(default_factory=asyncio.Event)
    behind: dict[str, int] = field(default_factory=dict)

    def make(self, service: Service) -> Sequence[Worker]:
        return [Delivery(f"{service.name}{service.made_of}", self)]

    async def measure(self, name: str) -> int:
        return self.behind.get(name, 0)


@dataclass
class Delivery:
    name: str
    log: Log

    async def run(self, stop: Stop) -> None:
        self.log.lines.append(f"+{self.name}")
        self.log.running.append(self.name)
        if self.name == "breaks1":
            await self.log.breaks.wait()
            raise Fatal("the disk")
        await stop.wait()
        await asyncio.sleep(0.2 if self.name == "slow1" else 0.01)  # what is under way ends
        self.log.running.remove(self.name)
        self.log.lines.append(f"-{self.name}")


A, B, C = Service("a"), Service("b"), Service("c")


def test_what_becomes_of_destinations() -> None:
    assert change([A, B], [A, B], {}, ()) == Change()
    assert change([A, B], [Service("b", 2), C], {"a": 0}, ()) == Change(added=("c",), changed=("b",), removed=("a",))
    assert change([A, B], [B], {"a": 7}, ()) == Change(kept={"a": 7})
    assert change([A, B], [B], {"a": 7}, ("a",)) == Change(removed=("a",))
    assert change([], [C, A], {}, ("x",)) == Change(added=("a", "c"))


@asynccontextmanager
async def running(log: Log, *services: Service) -> AsyncIterator[Fleet[Service]]:
    fleet, stop = Fleet(services, log.make, log.measure), asyncio.Event()
    task = asyncio.create_task(fleet.run(stop))
    await asyncio.sleep(0.01)
    yield fleet
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert log.running == []


async def test_those_that_did_not_change_run_on_and_the_former_ends_before_its_successor_begins() -> None:
    log = Log()
    async with running(log, A, B) as fleet:
        assert await fleet.become([A, Service("b", 2), C], ()) == Change(added=("c",), changed=("b",))
        await asyncio.sleep(0.01)
        assert log.lines == ["+a1", "+b1", "+c1", "-b1", "+b2"]
        assert await fleet.become([A, Service("b", 2), C], ()) == Change()
        assert await fleet.become([], ("b",)) == Change(removed=("a", "b", "c"))
        assert log.running == []
        assert await fleet.become([A], ()) == Change(added=("a",))
        await asyncio.sleep(0.01)
        assert log.running == ["a1"]


async def test_one_that_ends_slowly_holds_up_no_other() -> None:
    log = Log()
    async with running(log, Service("slow"), Service("quick")) as fleet:
        await fleet.become([Service("slow", 2), Service("quick", 2), Service("new")], ())
        await asyncio.sleep(0.01)
    assert log.lines.index("+new1") < log.lines.index("-slow1")
    assert log.lines.index("-quick1") < log.lines.index("+quick2") < log.lines.index("-slow1") < log.lines.index("+slow2")


async def test_one_with_a_backlog_goes_only_if_that_is_said() -> None:
    log = Log(behind={"a": 3})
    async with running(log, A, B) as fleet:
        assert await fleet.become([], ()) == Change(removed=("b",), kept={"a": 3})
        assert log.running == ["a1"]
        assert await fleet.become([Service("a", 2)], ()) == Change(changed=("a",)), "what stays may change"
        assert await fleet.become([], ("a",)) == Change(removed=("a",))
        assert log.running == []


async def test_an_error_after_which_nobody_may_go_on_ends_all_of_them_in_peace_and_is_told() -> None:
    log = Log()
    fleet = Fleet([A, Service("breaks"), B], log.make, log.measure)
    task = asyncio.create_task(fleet.run(asyncio.Event()))
    await asyncio.sleep(0.01)
    log.breaks.set()
    with pytest.raises(Fatal, match="the disk"):
        async with asyncio.timeout(5):
            await task
    assert {"-a1", "-b1"} < {*log.lines}


async def test_nothing_that_changed_begins_anew_once_the_process_ends() -> None:
    log, stop = Log(), asyncio.Event()
    slow = Service("slow")
    fleet = Fleet([A, slow], log.make, log.measure)
    task = asyncio.create_task(fleet.run(stop))
    await asyncio.sleep(0.01)
    becoming = asyncio.create_task(fleet.become([Service("a", 2), B, slow], ()))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await asyncio.gather(task, becoming)
    assert [line for line in log.lines if line[0] == "+"] == ["+a1", "+slow1", "+b1"]
    assert log.running == []
