"""Why a connection, or a port to listen on, could not be had: the system's own verdict, in words. Pure."""

import errno
import os
import re
import socket
import ssl
from typing import Final

_CUT: Final = "the connection was cut"
_CUTS: Final = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}
_NO_WAY: Final = "no way leads there from this machine"
_SILENT: Final = "no answer came in time"
_SAID: Final = {
    errno.ECONNREFUSED: "the connection was refused (nothing listens there)",
    errno.ETIMEDOUT: _SILENT,
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

UNTRUSTED: Final = "no authority that is known here stands behind it, or the certificates between are not sent along"
_STRANGE: Final = {18, 19, 20, 21}  # X509_V_ERR_…: self-signed, alone or in the chain; no issuer to be had, locally or at all
_ALERT: Final = re.compile(r"ALERT_([A-Z_]+)$")


def obstacle(error: BaseException) -> str:
    """Return what stood in the way of a connection, from what the attempt raised."""
    root = origin(error)
    if isinstance(root, ssl.SSLError):
        return _insecure(root)
    if isinstance(root, TimeoutError):
        return _SILENT
    if isinstance(root, socket.gaierror):
        return "there is no such name" if root.errno in _NO_NAME else "its name could not be looked up just now"
    if cut(root):
        return _CUT
    return _verdict(root) if isinstance(root, OSError) else type(root).__name__


def unbound(error: OSError) -> str:
    """Return why an address cannot be listened on, from what the attempt raised."""
    return _OWN.get(error.errno or 0) or obstacle(error)


def origin(error: BaseException) -> BaseException:
    """Return what a client tells with a number and words of its own: the error of TLS or of the connection behind it, or itself.

    The number of an SSLError is that of its class, 1, and would read as EPERM; a connection that is cut often has none.
    """
    return error.__cause__ if isinstance(error.__cause__, ssl.SSLError | ConnectionError) else error


def alert(error: BaseException) -> str | None:
    """Return what the other side said as it ended TLS ("certificate required"); None where it said nothing (RFC 8446, 6.2)."""
    found = _ALERT.search(getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else None
    return found[1].lower().replace("_", " ") if found else None


def cut(error: BaseException) -> bool:
    """Say whether a connection that stood was cut; some such errors come without a number."""
    unnumbered = isinstance(error, EOFError | ConnectionResetError | ConnectionAbortedError | BrokenPipeError)
    return unnumbered or (isinstance(error, OSError) and error.errno in _CUTS)


def _insecure(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        strange = f"; {UNTRUSTED}" if error.verify_code in _STRANGE else ""
        return f"its certificate is not accepted ({error.verify_message.rstrip('.')}{strange})"
    if said := alert(error):
        return f'TLS failed, the other side said "{said}"'
    return "what listens there does not speak TLS as asked"


def _verdict(error: OSError) -> str:
    numbers = [error.errno] if error.errno else [int(found) for found in _NUMBERS.findall(str(error))]
    said = dict.fromkeys(_SAID.get(number) or _spelt(number) for number in numbers)
    return ", ".join(said) or str(error) or type(error).__name__


def _spelt(number: int) -> str:
    """Return the system's own words for an error, as they stand in the middle of a sentence."""
    words = os.strerror(number)
    return words[:1].lower() + words[1:]
