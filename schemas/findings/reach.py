"""Why a connection, or a port to listen on, could not be had: the system's own verdict, in words. Pure."""

import errno
import os
import re
import socket
import ssl
from typing import Final

_CUT: Final = "the connection was cut"
_NO_WAY: Final = "no way leads there from this machine"
_SILENT: Final = "no answer came in time"
_SAID: Final = {
    errno.ECONNREFUSED: "the connection was refused (nothing listens there)",
    errno.ETIMEDOUT: _SILENT,
    errno.ECONNRESET: _CUT,
    errno.ECONNABORTED: _CUT,
    errno.EPIPE: _CUT,
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETUNREACH: _NO_WAY,
    errno.EADDRNOTAVAIL: _NO_WAY,
}
_OWN: Final = {
    errno.EADDRINUSE: "it is in use, perhaps by another ringhook",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "this user may not (ports under 1024 are the system's)",
}
_NO_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_NUMBERS: Final = re.compile(r"\[Errno (\d+)\]")  # of a name's many addresses asyncio tells the errors as one text


def obstacle(error: BaseException) -> str:
    """Return what stood in the way of a connection, from what the attempt raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "what listens there does not speak TLS as asked"
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, socket.gaierror):
        return "there is no such name" if error.errno in _NO_NAME else "its name could not be looked up just now"
    if isinstance(
        error, EOFError | ConnectionResetError | ConnectionAbortedError | BrokenPipeError
    ):  # some come without a number
        return _CUT
    return _verdict(error) if isinstance(error, OSError) else type(error).__name__


def unbound(error: OSError) -> str:
    """Return why an address cannot be listened on, from what the attempt raised."""
    return _OWN.get(error.errno or 0) or obstacle(error)


def _verdict(error: OSError) -> str:
    numbers = [error.errno] if error.errno else [int(found) for found in _NUMBERS.findall(str(error))]
    said = dict.fromkeys(_SAID.get(number) or _spelt(number) for number in numbers)
    return ", ".join(said) or str(error) or type(error).__name__


def _spelt(number: int) -> str:
    """Return the system's own words for an error, as they stand in the middle of a sentence."""
    words = os.strerror(number)
    return words[:1].lower() + words[1:]
