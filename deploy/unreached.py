"""Why an HTTP server was not reached, as aiohttp's client tells it, in words."""

from typing import Final

import aiohttp

from schemas.findings.reach import obstacle

NO_HTTP: Final = "what listens there does not speak HTTP as it should"
FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError)  # what a request may raise
_MUTE: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError, aiohttp.ClientPayloadError)


def unreached(error: BaseException) -> str:
    """Return what stood in the way of a request that raised one of FAILURES."""
    if isinstance(error, _MUTE):
        return NO_HTTP
    return obstacle(error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error)
