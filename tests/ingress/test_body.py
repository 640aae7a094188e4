"""Reading a body whose sender goes away at odd moments; aiohttp's own stream, on a connection that a test holds."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from ingress.body import FREE, read
from ingress.bounds import Room


@dataclass
class Begun:
    """What `read` asks of a request."""

    content: StreamReader
    transport: asyncio.Transport | None
    content_length: int | None = None


def begun(said: bytes, transport: asyncio.Transport | None) -> web.Request:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = transport
    content = StreamReader(protocol, 2**16, loop=loop)
    if said:
        content.feed_data(said)
    return cast("web.Request", Begun(content, transport))


@pytest.mark.parametrize("said", [b"", b"x", b"x" * (FREE + 10)])
async def test_a_sender_that_went_before_its_body_was_read_is_a_broken_connection_and_no_bug(said: bytes) -> None:
    room = Room(1_000_000)
    with pytest.raises(ConnectionError):
        await read(begun(said, None), 1_000_000, room)
    assert room.taken == 0


async def test_what_breaks_while_the_sender_is_there_stays_a_bug() -> None:
    request = begun(b"", asyncio.Transport())
    other = asyncio.create_task(request.content.readany())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another coroutine"):
        await read(request, 1_000_000, Room(1_000_000))
    other.cancel()
