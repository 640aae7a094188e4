"""`POST /v1/accounts/{account}/token`: a valid access token for a partner's service, so that nobody else ever refreshes."""

import re
import time
from typing import Annotated, Final, Protocol

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api, found
from ingress.admin.quota import Quota
from ingress.bounds import Bound
from ingress.errors import Conflict, Later, TooOften
from ingress.link.progress import moment
from schemas.errors import Rejected

log = structlog.get_logger()
AT_ONCE: Final = 256  # callers that wait for a token
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class Loan(Protocol):
    """A token, or why there is none; with `wait` seconds after which asking again may help."""

    @property
    def access_token(self) -> str | None:
        """The token itself."""
        ...

    @property
    def expires_at(self) -> float:
        """When it ends, in epoch seconds."""
        ...

    @property
    def words(self) -> str:
        """Why there is none."""
        ...

    @property
    def wait(self) -> float | None:
        """None: asking again will not help."""
        ...


class Broker(Protocol):
    """Lends tokens; the linker does."""

    async def lend(self, account: str, rejected: str | None) -> Loan | None:
        """Return a loan, None for an unknown account; `rejected`: SHA-256 in hex of a token that Ring refused."""
        ...


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a service may say: that Ring answered 401 to the token with this SHA-256."""

    rejected: Annotated[str, msgspec.Meta(max_length=64)] | None = None


def add_broker(api: Api, broker: Broker, quota: Quota) -> None:
    """Add `POST /v1/accounts/{account}/token` (scope broker)."""
    bound = Bound(AT_ONCE)

    async def token(request: web.Request) -> object:
        caller, account = request[CALLER], request.match_info["account"]
        if wait := quota.spend(caller, time.monotonic()):
            raise TooOften(
                f"The token {caller!r} asks too often: {quota.rate:.0f} times a second is its share of a linker.",
                retry_after=wait,
            )
        rejected = hashed(await api.bodies.read(request, Asked))
        with bound:
            loan = found(await broker.lend(account, rejected))
        lent = loan.access_token is not None
        log.info("token.lent" if lent else "token.refused", caller=caller, account=account, rejected=rejected is not None)
        return told(loan)

    api.add("POST", "/v1/accounts/{account}/token", "broker", token)


def hashed(asked: Asked) -> str | None:
    """Return the hash of the token that Ring refused, if one was; raises Rejected for what is no SHA-256."""
    if asked.rejected is not None and not _HEX.fullmatch(asked.rejected):
        raise Rejected("rejected must be the SHA-256 of the token that Ring refused, in hex.", reason="body_unreadable")
    return asked.rejected


def told(loan: Loan) -> dict[str, str]:
    """Return the token as JSON says it, or raise Later or Conflict with the reason."""
    if loan.access_token is not None:
        return {"access_token": loan.access_token, "expires_at": moment(loan.expires_at)}
    if loan.wait is not None:
        raise Later(loan.words, retry_after=loan.wait)
    raise Conflict(loan.words, reason="not_linked")
