"""Ring as the linker's tests use it: the demo's independent Ring, on the test's own time, with the accounts a test names."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from deploy.demo.ring.faults import Fault, Faults
from deploy.demo.ring.ledger import Call
from deploy.demo.ring.proofs import nonce as proof
from deploy.demo.ring.ring import Partner, running
from deploy.demo.ring.ring import Ring as Simulated
from deploy.demo.ring.state import Account, Client, Code, Integration, doorbell

KEY: Final = "test-hmac-key"
INTEGRATION: Final = "/v1/accounts/me/app-integrations"
ENDPOINTS: Final = {
    "exchange": "POST /oauth/token",
    "refresh": "POST /oauth/token",
    "identify": "GET /v1/users/me",
    "devices": "GET /v1/devices",
    "post": f"POST {INTEGRATION}",
    "patch": f"PATCH {INTEGRATION}",
}


def nonce(time: str, account: str) -> str:
    return proof(KEY, time, account)


class Outages(Faults):
    """Faults that last for a while of the test's time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._down: dict[str, tuple[float, Fault]] = {}

    def down(self, endpoint: str, seconds: float, fault: Fault) -> None:
        self._down[endpoint] = (self._clock() + seconds, fault)

    def take(self, *endpoints: str) -> Fault:
        for endpoint in endpoints:
            until, fault = self._down.get(endpoint, (0.0, Fault()))
            if self._clock() < until:
                return fault
        return super().take(*endpoints)


class Ring:
    """`spoil(call, …)`: what the next requests meet: a status (nothing is done), or "cut" (done, and no answer)."""

    def __init__(self, inner: Simulated, clock: Callable[[], float]) -> None:
        self.inner, self._clock = inner, clock
        self.outages = inner.books.faults = Outages(clock)
        self.url, self.world, self.ledger = inner.url, inner.world, inner.ledger
        self.retry_after = "1"
        self.taps: list[tuple[str, str]] = []

    def allow(self, code: str, account: str) -> None:
        """Let the user confirm in the Ring app, and this be the code that goes out."""
        known = self.world.accounts.setdefault(account, Account(account, [doorbell()]))
        known.integration = Integration()
        self.world.codes[code] = Code(account, self._clock())
        for tap in self.taps:
            self._tapped(*tap)

    def redirected(self, given: str, time: str) -> None:
        """Remember a tap on Sign In of whichever account made this nonce."""
        self.taps.append((given, time))
        self._tapped(given, time)

    def _tapped(self, given: str, time: str) -> None:
        for account in self.world.accounts.values():
            if nonce(time, account.id) == given:
                account.redirects[given] = int(time) / 1000

    def spoil(self, call: str, *faults: int | str) -> None:
        for fault in faults:
            self.inner.faults.next(ENDPOINTS[call], self._fault(fault))

    def down(self, call: str, seconds: float, fault: Fault) -> None:
        """Let every such call meet this for a while; the others are well."""
        self.outages.down(ENDPOINTS[call], seconds, fault)

    def _fault(self, fault: int | str) -> Fault:
        if fault == "cut":
            return Fault(drop=True)
        extra = {429: (("Retry-After", self.retry_after),), 307: (("Location", f"{self.url}/elsewhere"),)}
        return Fault(status=int(fault), headers=extra.get(int(fault), ()))

    def calm(self) -> None:
        self.inner.faults._waiting.clear()

    def standing(self, account: str) -> str | None:
        integration = self.world.accounts[account].integration
        return integration.standing if integration else None

    @property
    def seen(self) -> list[tuple[str, str]]:
        """What was called, with the code or nonce."""
        return [(_name(call), call.secret or call.nonce or "") for call in self.ledger.calls]

    @property
    def by_account(self) -> dict[str | None, list[tuple[str, str]]]:
        found: defaultdict[str | None, list[tuple[str, str]]] = defaultdict(list)
        for call in self.ledger.calls:
            found[call.account].append((_name(call), call.nonce or ""))
        return found

    @property
    def made(self) -> list[str]:
        """Every token that was ever given out."""
        return [token for grant in self.world.grants for token in (*grant.access, grant.refresh, *grant.spent) if token]

    def count(self, call: str) -> int:
        return sum(name == call for name, _ in self.seen)


def _name(call: Call) -> str:
    if call.path == "/oauth/token":
        return "refresh" if call.grant_type == "refresh_token" else "exchange"
    if call.path == "/v1/devices":
        return "devices"
    return {"GET": "identify", "POST": "post", "PATCH": "patch"}[call.method]


@asynccontextmanager
async def serve(clock: Callable[[], float]) -> AsyncIterator[Ring]:
    nowhere = Partner("http://127.0.0.1:9/", "http://127.0.0.1:9/", "http://127.0.0.1:9/")
    async with running(nowhere, Client("client-1", "canary-client-secret", KEY), clock=clock) as inner:
        inner.books.budget.rate = 1_000_000  # the test's time stands still
        inner.books.completed = lambda _account: None
        yield Ring(inner, clock)
