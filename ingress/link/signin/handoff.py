"""Hand-off: the partner's own login page says who signed in, and gets back where to send the browser."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from ingress.errors import Conflict, NotFound, Unprocessable
from ingress.link.attempt import TICKET_LIFE, Attempt, Seals, Signed, is_id

LONGEST: Final = 256  # characters
FINISH: Final = "/ring/account-link/finish"


class Claims(Protocol):
    """Remembers who claimed which attempt; a row of the admin role's store."""

    async def claim(self, attempt: str, partner_user: str, now: datetime) -> bool:
        """Say whether the attempt is this user's: the first writer's it is, again for the same user, never for another."""
        ...


class Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the login page posts; `account_identifier` is masked (`u***r@example.com`), as Ring shows it to the user."""

    partner_user: str
    account_identifier: str | None = None


class Ticketed(msgspec.Struct, frozen=True):
    """What it gets: send the browser there within `expires_in` seconds."""

    finish_url: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Handoff:
    """Takes a claim and gives a ticket."""

    claims: Claims
    seals: Seals
    public_url: str
    clock: Callable[[], datetime]

    async def claim(self, attempt: str, claimed: Claimed) -> Ticketed:
        """Raise NotFound for what is no attempt, Unprocessable for what is claimed, Conflict for a second user."""
        if not is_id(attempt):
            raise NotFound("There is no such attempt.", reason="attempt")
        demand_usable(claimed)
        now = self.clock()
        if not await self.claims.claim(attempt, claimed.partner_user, now):
            raise Conflict("Another user has claimed this attempt.", reason="claimed")
        return self._ticketed(attempt, claimed, now)

    def _ticketed(self, attempt: str, claimed: Claimed, now: datetime) -> Ticketed:
        signed = Signed(
            attempt=attempt,
            partner_user=claimed.partner_user,
            account_identifier=claimed.account_identifier,
            until=now + TICKET_LIFE,
        )
        url = f"{self.public_url.rstrip('/')}{FINISH}?{urlencode({'ticket': self.seals.ticket(signed)})}"
        return Ticketed(finish_url=url, expires_in=int(TICKET_LIFE.total_seconds()))


def demand_usable(claimed: Claimed) -> None:
    """Raise Unprocessable for names that cannot be used, and for an identifier that is not masked."""
    if not usable(claimed.partner_user):
        raise Unprocessable("partner_user must be 1 to 256 printable characters.", reason="partner_user")
    identifier = claimed.account_identifier
    if identifier is not None and not (usable(identifier) and masked(identifier)):
        raise Unprocessable(
            "account_identifier must be masked, like u***r@example.com: at least half of it stars.", reason="identifier_unmasked"
        )


def masked(identifier: str) -> bool:
    """Say whether stars hide whose an identifier is: at least half of an address's local part, or all but two signs of it."""
    local = identifier.partition("@")[0]
    stars = local.count("*")
    return stars > 0 and len(local) - stars <= max(2, stars)


def usable(name: str) -> bool:
    """Say whether a name can be shown and stored."""
    return 0 < len(name) <= LONGEST and name.isprintable() and not name.isspace()


def sign_in_url(login_url: str) -> Callable[[Attempt], str]:
    """Return where an attempt's browser goes: the partner's login page, `attempt` added to whatever query it has."""
    parts = urlsplit(login_url)
    query = parse_qsl(parts.query, keep_blank_values=True)

    def url(attempt: Attempt) -> str:
        return urlunsplit(parts._replace(query=urlencode([*query, ("attempt", attempt.id)])))

    return url
