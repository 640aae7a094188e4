"""Look-ups of names, each in a thread of its own: a name server that is silent delays none but those who asked for its names.

The event loop's own look-ups share four threads. A look-up cannot be stopped: the system's takes as long as its `resolv.conf`
says (10 s and more), whoever still waits for it.
"""

import socket
import threading
from asyncio import wrap_future
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

Found = Sequence[tuple[int, str]]  # family and address
_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
_under_way: Final[dict[tuple[str, int], Future[Found]]] = {}  # no more than there are names; the whole process's


class Resolver(AbstractResolver):
    """Asks the system; who asks for a name that is asked for already waits for the same answer."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Return the addresses of a host, or raise the system's OSError; whoever stops waiting stops nothing else."""
        found = await wrap_future(_asked(host, family))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    async def close(self) -> None:
        """Leave what is under way to its end: it keeps no process from ending."""


def _asked(host: str, family: int) -> Future[Found]:
    key = (host, family)
    if (asked := _under_way.get(key)) is not None:
        return asked
    asked = Future()
    asked.set_running_or_notify_cancel()  # so that nobody who stops waiting cancels it for the others
    threading.Thread(target=_ask, args=(host, family, asked), name=f"look-up of {host}", daemon=True).start()
    _under_way[key] = asked
    asked.add_done_callback(lambda _: _under_way.pop(key, None))
    return asked


def _ask(host: str, family: int, asked: Future[Found]) -> None:
    try:
        asked.set_result(_found(host, family))
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        asked.set_exception(error)


def _found(host: str, family: int) -> Found:
    infos = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [(kind, socket.getnameinfo(address, _NUMERIC)[0]) for kind, _, _, _, address in infos]  # with its scope, where one is
