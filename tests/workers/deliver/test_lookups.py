"""Destinations whose name servers are silent, beside one that lives."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.command import reaching
from tests.workers.deliver.support import SECRET, Sink, destination
from workers.deliver.answer import Answer
from workers.deliver.ping import Pinged, ping
from workers.deliver.send import Sender
from workers.runtime.secrets import Secret

LEAVING = """
import asyncio, socket, time
from tests.workers.deliver.support import destination
from workers.deliver.send import Sender

async def attempt():
    async with Sender(destination("http://silent.test/ring", timeout_s=0.1)) as sender:
        return await sender.post(b"{}", {})

socket.getaddrinfo = lambda *_args, **_more: time.sleep(600)
print(asyncio.run(attempt()).failure, flush=True)
"""


class Names:
    """A system's resolver: names that begin with `silent` have an address only when their name server speaks."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.speaks = threading.Event()
        self._system = socket.getaddrinfo

    def getaddrinfo(self, host: str, *args: Any, **more: Any) -> list[Any]:  # noqa: ANN401 - handed on as they come
        if host.endswith(".test"):
            self.asked[host] += 1
            if host.startswith("silent"):
                self.speaks.wait(60)
            host = "127.0.0.1"
        return self._system(host, *args, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.speaks.set()


async def attempt(sink: Sink, name: str, seconds: float) -> Answer:
    url = sink.url.replace("127.0.0.1", f"{name}.test")
    async with Sender(destination(url, timeout_s=seconds)) as sender:
        return await sender.post(b"{}", {"webhook-id": name})


async def check(sink: Sink, name: str, seconds: float) -> Pinged:
    """As `ringhook destinations check` does it, for all at once."""
    url = sink.url.replace("127.0.0.1", f"{name}.test")
    return await ping(destination(url, timeout_s=seconds), [Secret(SECRET)], {}, None)


async def test_a_destination_that_lives_is_found_while_the_name_servers_of_many_are_silent(sink: Sink, names: Names) -> None:
    silent = [asyncio.create_task(attempt(sink, f"silent{n}", 0.1)) for n in range(40)]
    assert {(await each).failure for each in silent} == {"timeout"}
    assert (await attempt(sink, "alive", 5.0)).status == 200
    assert names.asked == {f"silent{n}.test": 1 for n in range(40)} | {"alive.test": 1}


async def test_a_name_is_not_asked_for_again_while_it_is(sink: Sink, names: Names) -> None:
    for _ in range(3):
        assert (await attempt(sink, "silent", 0.1)).failure == "timeout"
    assert names.asked == {"silent.test": 1}
    waiting = [asyncio.create_task(attempt(sink, "silent", 20.0)) for _ in range(2)]
    for _ in range(50):
        await asyncio.sleep(0)  # until both wait
    names.speaks.set()
    assert [(await each).status for each in waiting] == [200, 200]
    assert names.asked == {"silent.test": 1}
    assert (await attempt(sink, "silent", 5.0)).status == 200
    assert names.asked == {"silent.test": 2}


@pytest.mark.usefixtures("names")
async def test_a_check_finds_a_good_service_and_names_the_silent_name_servers_of_others(sink: Sink) -> None:
    *silent, alive = await asyncio.gather(*(check(sink, f"silent{n}", 0.1) for n in range(40)), check(sink, "alive", 5.0))
    assert (alive.unresolved, alive.addresses) == (None, ("127.0.0.1",))
    assert alive.answer is not None
    assert alive.answer.status == 200
    told = {line for one in silent for line in list(reaching.lines(one))[1:]}
    assert told == {"  not reached: its name servers do not answer"}


def test_a_process_ends_while_a_name_server_is_silent() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVING], timeout=60, capture_output=True, text=True, check=True)
    assert ended.stdout == "timeout\n"
