"""Who an ID token names, for us and for people to see. Pure."""

import re
from typing import Final

from ingress.link.signin.idtoken import Claims

_ADDRESS: Final = re.compile(r"([^@\s]{1,64})@([A-Za-z0-9.-]{1,190})", re.ASCII)
_SHOWS_ITS_END: Final = 4  # characters; a shorter name would be shown nearly whole


def partner_user(claims: Claims) -> str:
    """Return `<issuer>#<subject>`: the same for one person for ever, and nobody else's, since no issuer holds a #."""
    return f"{claims.iss}#{claims.sub}"


def identifier(claims: Claims) -> str | None:
    """Return the masked e-mail address where the issuer gives one, and does not say that it was never verified."""
    if not isinstance(claims.email, str) or claims.email_verified in (False, "false"):
        return None
    return masked(claims.email)


def masked(address: str) -> str | None:
    """Return `u***r@example.com`, or None for what is no address."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not address.isprintable():
        return None
    name, host = found.groups()
    return f"{name[0]}***{name[-1] if len(name) >= _SHOWS_ITS_END else ''}@{host}"
