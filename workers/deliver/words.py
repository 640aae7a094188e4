"""What stood in the way of an attempt, for people, and what to do where TLS is about our own certificate. Pure."""

from typing import Final

import aiohttp

from schemas.findings.reach import alert, cut, obstacle, origin
from workers.deliver.answer import Timing
from workers.runtime.guard import Guarded

_OURS: Final = frozenset(  # what a server says of a client's certificate, or of none (RFC 8446, 6.2)
    {
        "certificate required",
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
        "access denied",
    }
)
_VAGUE: Final = "handshake failure"  # before TLS 1.3 a certificate that is missing is told so, and so is much else
_HUNG_UP: Final = "it hung up without an answer"
_WANTED: Final = "it wants to see a certificate of ours, and cert_file names none"
_NOT_TAKEN: Final = "it does not accept our certificate (does cert_file hold those between, too?)"


def told(error: BaseException, timing: Timing, *, certified: bool) -> str:
    """Return what stood in the way, nothing where the class of the failure says as much; `certified`: we have a certificate."""
    root, begun = _root(error), timing.tls is not None
    words = _HUNG_UP if begun and isinstance(root, aiohttp.ServerDisconnectedError) else _obstacle(root)
    remedy = _remedy(root, begun=begun, certified=certified)
    return f"{words}: {remedy}" if words and remedy else words


def _obstacle(root: BaseException) -> str:
    return obstacle(root) if isinstance(root, OSError) and not isinstance(root, TimeoutError | Guarded) else ""


def _root(error: BaseException) -> BaseException:
    if (root := origin(error)) is not error:
        return root
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _remedy(error: BaseException, *, begun: bool, certified: bool) -> str:
    """Return what to do; `begun`: the connection was new, and TLS began on it."""
    said, ours = alert(error), _NOT_TAKEN if certified else _WANTED
    if said in _OURS:
        return ours
    # a server may hang up without a word, or its reset overtakes the word
    unsaid = begun and (cut(error) or isinstance(error, aiohttp.ServerDisconnectedError))
    return f"perhaps {ours}" if unsaid or said == _VAGUE else ""
