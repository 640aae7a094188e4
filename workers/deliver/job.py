"""Deliver: a worker that brings every event to one HTTP destination, in a consumer group of its own."""

import asyncio
import random
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver

from schemas.topics import EVENT_RECORDED, delivery, delivery_held
from workers.bus.contract import Bus, Lag, Lane, Revoked, Stop, Work
from workers.bus.session import stray
from workers.deliver import metrics
from workers.deliver.aside import Aside
from workers.deliver.asked import Asked
from workers.deliver.birth import FIRST, Begins, always
from workers.deliver.destinations import Destination
from workers.deliver.facts import Facts
from workers.deliver.finished import Finished
from workers.deliver.flight import Flight, Stops
from workers.deliver.policy import Policy, Standard
from workers.deliver.replay import held_group
from workers.deliver.report import Reporter
from workers.deliver.send import Sender
from workers.deliver.session import Session
from workers.deliver.sign import Signer
from workers.deliver.store import Store
from workers.deliver.wishes import Wishes
from workers.runtime.clock import steady
from workers.runtime.database import Database
from workers.runtime.secrets import Secret

LOOK_S: Final = 0.02


class Deliver:
    """A worker for one destination; its name is also its consumer group. `secrets`: one, or two while rotating."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        destination: Destination,
        secrets: Sequence[Secret],
        stops: Stops,
        *,
        namespace: str,
        headers: Mapping[str, Secret] | None = None,
        tls: ssl.SSLContext | None = None,
        start: Begins | None = None,
        policy: Policy | None = None,
        resolver: AbstractResolver | None = None,
        copy: str = "this copy",
        wishes: Wishes | None = None,
    ) -> None:
        """`copy` is what this process is called among those that deliver to the same destination; `wishes` are all of it."""
        self.name: Final = delivery(destination.name)
        self.flight: Flight | None = None
        self.lag: Lag | None = None  # as it was measured last
        self._copy, self._wishes = copy, wishes or Wishes(database)
        self._bus, self._store = bus, Store(database, self.name, namespace)
        self._finished, self._finished_aside = defaultdict[int, Finished](Finished), defaultdict[int, Finished](Finished)
        self._destination, self._start = destination, start or always(FIRST)
        self._signer, self._stops = Signer(secrets, destination.sign), stops
        self._policy = policy or Standard()
        self._headers, self._tls, self._resolver = headers, tls, resolver

    def behind(self, lag: Lag) -> None:
        """Hear how far the group is behind."""
        self.lag = lag

    async def run(self, stop: Stop) -> None:
        """Deliver until `stop` is set; requests in flight then end before it returns."""
        facts = Facts(self._bus, metrics.FACTS_LOST.labels(destination=self._destination.name))
        try:
            sending = Sender(self._destination, headers=self._headers, tls=self._tls, resolver=self._resolver)
            async with sending as sender, asyncio.TaskGroup() as tasks:
                self.flight = self._prepared(sender, facts, tasks)
                reporter = Reporter(self._wishes, self.flight, self._copy, lambda: self.lag)
                ended, rested = asyncio.Event(), asyncio.Event()
                resting = tasks.create_task(self._rest(self.flight, stop, rested), name=f"{self.name}.rest")
                tasks.create_task(sturdy(partial(facts.run, ended)), name=f"{self.name}.facts")
                try:
                    with suppress(Revoked):  # stopped before it was known whether and where to begin
                        await reporter.begin(stop)
                        tasks.create_task(sturdy(partial(reporter.run, ended)), name=f"{self.name}.report")
                        aside = Aside(self._bus, self._wishes, self.flight, self._put_aside(self.flight), tasks)
                        tasks.create_task(sturdy(partial(aside.run, rested)), name=f"{self.name}.aside")
                        await self._consume(self.flight, stop, rested)
                finally:
                    ended.set()
                    rested.set()
                    resting.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            metrics.unwatch(self._destination.name)

    def _prepared(self, sender: Sender, facts: Facts, tasks: asyncio.TaskGroup) -> Flight:
        flight = Flight(
            self._destination,
            sender=sender,
            signer=self._signer,
            policy=self._policy,
            publisher=self._bus,
            facts=facts,
            stops=self._stops,
            tasks=tasks,
            now=unturned(),
            dice=random.random,  # jitter, not a secret
        )
        metrics.watch(
            self._destination.name,
            flying=lambda: flight.health.flying,
            allowed=lambda: flight.health.allowed,
            waiting=flight.waiting,
            oldest=flight.oldest_age,
            state=lambda: flight.state(flight.now()),
        )
        return flight

    def _put_aside(self, flight: Flight) -> Work:
        topic = delivery_held(self._destination.name).name
        store = Store(self._store.database, held_group(self._destination.name), self._store.namespace)

        async def work(lane: Lane, ends: Stop) -> None:
            aside = Asked(store.database)
            await Session(lane, flight, ends, store, finished=self._finished_aside[lane.index], topic=topic, asked=aside).run()

        return work

    async def _rest(self, flight: Flight, stop: Stop, rested: asyncio.Event) -> None:
        """Once `stop` is set begin nothing new, and let what is under way end: what is cut is sent again."""
        await stop.wait()
        flight.resting = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._destination.ends_s):
                while flight.health.flying and not flight.health.failing:  # noqa: ASYNC110 - a figure of others: there is no event
                    await asyncio.sleep(LOOK_S)
        rested.set()

    async def _consume(self, flight: Flight, stop: Stop, rested: Stop) -> None:
        async def work(lane: Lane, ends: Stop) -> None:
            await Session(lane, flight, ends, self._store, finished=self._finished[lane.index]).run()

        start = await self._start(stop)
        topics, grace = [EVENT_RECORDED.name], self._destination.grace_s
        await self._bus.consume(topics, self.name, work, rested, atomic=False, start=start, grace=grace)


async def sturdy(run: Callable[[], Awaitable[None]]) -> None:
    """Run what must not end by itself: a cancellation that nobody asked for (a library's own) is a crash, not an end."""
    try:
        await run()
    except asyncio.CancelledError as error:
        if not stray():
            raise
        raise RuntimeError("a task of a delivery was cancelled, and nobody had asked for it") from error


def unturned() -> Callable[[], datetime]:
    """Return a clock that begins at the wall's time and is never turned back."""
    zero, began = datetime.fromtimestamp(time.time(), UTC), steady()
    return lambda: zero + timedelta(seconds=steady() - began)
