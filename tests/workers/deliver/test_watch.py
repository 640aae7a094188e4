"""Where the time of an attempt goes, at services that are slow at one step each."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tests.workers.deliver.certificates import Authority, demanding
from tests.workers.deliver.support import Sink, destination, served
from workers.deliver import tls
from workers.deliver.answer import Answer, Timing
from workers.deliver.send import Sender

SLOW_S = 0.2


class Resolver(AbstractResolver):
    """Knows where everything is, after a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        await asyncio.sleep(self.seconds)
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        pass


def steps(answer: Answer) -> Timing:
    assert answer.timing
    spent = [seconds for seconds in (getattr(answer.timing, name) for name in ("dns", "connect", "tls", "wait")) if seconds]
    assert sum(spent) <= answer.took + 0.001
    return answer.timing


async def test_a_new_connection_is_told_and_a_kept_one_only_waits(sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(SLOW_S)
        return 200

    sink.answer = slowly
    async with Sender(destination(sink.url)) as sender:
        new, kept = [steps(await sender.post(b"{}", {"webhook-id": "e"})) for _ in range(2)]
    assert new.dns is None  # an address needs no look-up
    assert new.connect is not None
    assert new.connect < SLOW_S
    assert new.wait is not None
    assert new.wait >= SLOW_S
    assert kept == Timing(wait=kept.wait)


async def test_a_slow_look_up_is_told_as_that(sink: Sink) -> None:
    named = sink.url.replace("127.0.0.1", "alerts.example.com")
    async with Sender(destination(named), resolver=Resolver(SLOW_S)) as sender:
        found = steps(await sender.post(b"{}", {"webhook-id": "e"}))
    assert found.dns is not None
    assert found.dns >= SLOW_S
    assert found.connect is not None
    assert found.connect < SLOW_S


async def test_an_attempt_that_ends_in_a_look_up_knows_nothing_else(sink: Sink) -> None:
    named = sink.url.replace("127.0.0.1", "alerts.example.com")
    async with Sender(destination(named, timeout_s=SLOW_S), resolver=Resolver(9)) as sender:
        answer = await sender.post(b"{}", {})
    assert (answer.failure, answer.timing) == ("timeout", Timing(dns=pytest.approx(SLOW_S, abs=0.15)))


async def test_a_connection_that_never_stands_is_told_as_connecting() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with socket.socket() as first, socket.socket() as second:  # both take the place of who waits to be accepted
            for each in (first, second):
                each.setblocking(False)  # noqa: FBT003 - the socket's own shape
                each.connect_ex(deaf.getsockname())
            async with Sender(destination(f"http://127.0.0.1:{deaf.getsockname()[1]}/", timeout_s=SLOW_S)) as sender:
                answer = await sender.post(b"{}", {})
    assert (answer.failure, answer.timing) == ("timeout", Timing(connect=pytest.approx(SLOW_S, abs=0.15)))


async def test_an_address_that_the_guard_refuses_took_no_step(sink: Sink) -> None:
    async with Sender(destination(sink.url, allow_networks=[])) as sender:
        assert await sender.post(b"{}", {}) == Answer(failure="guard", took=pytest.approx(0, abs=0.5), timing=Timing())


@asynccontextmanager
async def hesitating(url: str) -> AsyncIterator[str]:
    """Take connections at once, and lead them to a server after a while."""

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(SLOW_S)
        there, back = await asyncio.open_connection("127.0.0.1", URL(url).port)
        await asyncio.gather(carried(reader, back), carried(there, writer))

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def through(authority: Authority) -> Timing:
    context = tls.believing(authority.certificate.read_text())
    tls.identify(context, *authority.vouch("us"))
    server = served(web.Application(), tls=demanding(authority, authority.vouch("server")))
    async with server as behind, hesitating(behind) as url, Sender(destination(url), tls=context) as sender:
        return steps(await sender.post(b"{}", {}))


def told_apart(found: Timing) -> bool:
    assert found.connect is not None
    assert found.tls is not None
    assert found.wait is not None
    return found.connect < SLOW_S <= found.tls


async def test_tls_is_told_apart_from_connecting(tmp_path: Path) -> None:
    assert told_apart(await through(Authority(tmp_path)))


def test_tls_is_told_apart_on_the_loop_that_every_role_runs_on(tmp_path: Path) -> None:
    assert told_apart(uvloop.run(through(Authority(tmp_path))))
