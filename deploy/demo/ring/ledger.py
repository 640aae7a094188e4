"""What the judge saw: every call to Ring's API and everything Ring sent, with the answers, in order."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """One request to Ring. `secret` is the code or refresh token it carried; `status` is None where the answer was dropped."""

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
        """Return the codes that came to the token endpoint more than once: a partner must never do that."""
        sent = Counter(call.secret for call in self.calls if call.grant_type == "authorization_code" and call.secret)
        return [code for code, times in sent.items() if times > 1]

    def attempts_of(self, request_id: str) -> list[Attempt]:
        """Return the tries to deliver one webhook, in order."""
        return [attempt for attempt in self.attempts if attempt.request_id == request_id]

    def delivered(self) -> set[str]:
        """Return the request ids that were answered 2xx at least once."""
        return {attempt.request_id for attempt in self.attempts if attempt.status is not None and attempt.status // 100 == 2}  # noqa: PLR2004
