"""What Ring does wrong, by endpoint (`"POST /oauth/token"`): a status, a delay, an answer that never arrives.

A line of faults is used up one by one (`next`); a standing fault (`often`) spoils a share of all answers until `calm`. OAuth's
endpoint may be named with its grant type: `"POST /oauth/token refresh_token"`.
"""

import random
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.demo.ring.state import Refusal


@dataclass(frozen=True)
class Fault:
    """One spoiled answer: after `delay` seconds; with `drop` the call is handled and the connection then cut.

    A `status` is answered without handling the call, with the `title` of a documented error; `headers` (`Retry-After`) go with
    it, and `raw` (a gateway's page) in the place of the error; with `handled` the call is handled first, and its own answer lost
    behind the gateway. With `unheard` nothing is handled, and the connection is cut.
    """

    status: int | None = None
    delay: float = 0
    drop: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    title: str = "Fault"
    raw: bytes | None = None
    unheard: bool = False
    handled: bool = False

    def refusal(self) -> Refusal | None:
        """Return what is answered in the place of the call's own answer."""
        return None if self.status is None else Refusal(self.status, self.title, "Ring has trouble of its own.")


@dataclass
class Faults:
    """A line of faults per endpoint, each used once, and standing faults with the share of answers they spoil."""

    dice: random.Random = field(default_factory=lambda: random.Random(1))
    _waiting: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    _standing: defaultdict[str, list[tuple[float, Fault]]] = field(default_factory=lambda: defaultdict(list))

    def next(self, endpoint: str, fault: Fault, times: int = 1) -> None:
        """Spoil the next `times` answers of an endpoint, after those already in line."""
        self._waiting[endpoint].extend([fault] * times)

    def often(self, endpoint: str, share: float, *faults: Fault) -> None:
        """Spoil this share of an endpoint's answers from now on, by one of these faults as chance will have it."""
        self._standing[endpoint] += [(share / len(faults), fault) for fault in faults]

    def calm(self) -> None:
        """Let all be well."""
        self._waiting.clear()
        self._standing.clear()

    def take(self, *endpoints: str) -> Fault:
        """Return what is to go wrong now with an endpoint, by any of its names; a Fault of nothing where all is well."""
        for endpoint in endpoints:
            if line := self._waiting.get(endpoint):
                return line.popleft()
        roll = self.dice.random()
        for endpoint in endpoints:
            for share, fault in self._standing.get(endpoint, ()):
                if (roll := roll - share) < 0:
                    return fault
        return Fault()


_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_BUSY: Final = (("Retry-After", "1"),)
_ANYWHERE: Final = (
    Fault(429, headers=_BUSY, title="Too Many Requests"),
    Fault(500, title="Internal Server Error"),
    Fault(502, raw=_GATEWAY),
    Fault(503, headers=_BUSY, title="Service Unavailable"),
    Fault(504, raw=b""),
)
# Each error that Ring's pages name, or that was seen: account-linking.html, app-integrations.html, api-documentation.html.
DOCUMENTED: Final[Mapping[str, Sequence[Fault]]] = {
    "POST /oauth/token": (
        Fault(400, title="invalid_grant"),
        Fault(400, title="invalid_request"),
        Fault(401, title="invalid_client"),
        Fault(401, title="invalid_grant"),
        Fault(403, title="invalid_grant"),
        *_ANYWHERE,
    ),
    "GET /v1/users/me": (Fault(403, title="Forbidden"), Fault(404, title="Not Found"), *_ANYWHERE),
    "GET /v1/devices": (Fault(401, title="Unauthorized"), Fault(403, title="Forbidden"), *_ANYWHERE),
    "POST /v1/accounts/me/app-integrations": (
        Fault(400, title="Invalid Nonce"),
        Fault(400, title="Missing Required Fields"),
        Fault(401, title="Unauthorized"),
        Fault(404, title="Not Found"),
        *_ANYWHERE,
    ),
    "PATCH /v1/accounts/me/app-integrations": (
        Fault(400, title="Invalid Status Transition"),
        Fault(400, title="Missing Required Fields"),
        Fault(401, title="Unauthorized"),
        Fault(404, title="Not Found"),
        *_ANYWHERE,
    ),
}
