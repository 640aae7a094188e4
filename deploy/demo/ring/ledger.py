"""What the judge saw: every call to Ring's API and everything Ring sent, with the answers, in order."""

from collections import Counter, deque
from dataclasses import dataclass, field

TURNED_AWAY = (429, 503)  # by which a server says that it did not take a request up


@dataclass(frozen=True)
class Call:
    """One request to Ring, with what it carried; `status` is None where the answer was dropped.

    `secret` is a code or refresh token, `token` the access token. `account` is whose that is or was; None: nobody's.
    """

    at: float
    method: str
    path: str
    status: int | None
    account: str | None = None
    grant_type: str | None = None
    secret: str | None = None
    nonce: str | None = None
    client: str | None = None
    title: str | None = None  # of the error, where there was one
    token: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One try to deliver a webhook. `status` is None where nothing came back in time."""

    at: float
    request_id: str
    number: int
    status: int | None
    seconds: float


@dataclass
class Ledger:
    """Grows only."""

    calls: list[Call] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def calls_to(self, method: str, path: str) -> list[Call]:
        """Return the calls of one endpoint, oldest first."""
        return [call for call in self.calls if (call.method, call.path) == (method, path)]

    def codes_sent_twice(self) -> list[str]:
        """Return the codes that came again though they were not turned away (429, 503) before: a partner must never do that."""
        codes = (call for call in self.calls if call.grant_type == "authorization_code" and call.status not in TURNED_AWAY)
        return [code for code, times in Counter(call.secret for call in codes).items() if code and times > 1]

    def refreshed_twice(self) -> list[str]:
        """Return the refresh tokens that were traded and came again all the same: each is a family that Ring takes away."""
        traded, again = set[str | None](), list[str]()
        for call in self.calls:
            if call.grant_type == "refresh_token":
                again += [call.secret] if call.secret and call.secret in traded else []
                traded |= {call.secret} if call.status in {200, None} else set()
        return list(dict.fromkeys(again))

    def busiest(self, client: str | None = None, window: float = 1.0) -> int:
        """Return the most requests, of one client or of all, that came within any `window` seconds; 429s count too."""
        most, inside = 0, deque[float]()
        for at in sorted(call.at for call in self.calls if client is None or call.client == client):
            while inside and inside[0] <= at - window:
                inside.popleft()
            inside.append(at)
            most = max(most, len(inside))
        return most

    def attempts_of(self, request_id: str) -> list[Attempt]:
        """Return the tries to deliver one webhook, in order."""
        return [attempt for attempt in self.attempts if attempt.request_id == request_id]

    def delivered(self) -> set[str]:
        """Return the request ids that were answered 2xx at least once."""
        return {attempt.request_id for attempt in self.attempts if attempt.status is not None and attempt.status // 100 == 2}  # noqa: PLR2004
