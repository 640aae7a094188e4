"""One sign-in from the redirect to the confirmation, carried by sealed values: ingress needs no store for it.

The browser's cookie holds the Attempt. A Ticket goes through the partner's login page, a Claim stands in the confirmation
form; both open only beside the cookie of the browser that began.
"""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from ingress.errors import Forbidden
from ingress.link.words import ANOTHER_BROWSER, TOO_LATE
from schemas.errors import Rejected
from workers.runtime.sealing import KeyMissing, Keyring

TICKET_LIFE: Final = timedelta(seconds=120)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
S = TypeVar("S", bound=msgspec.Struct)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser that tapped Sign In brought; `id` is public, `secret` never leaves the cookie."""

    id: str
    secret: str
    nonce: str
    time: str
    partner_user: str | None = None  # once confirmed
    asked: float | None = None  # epoch seconds: when this browser was sent to sign in, while an answer may come


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed in for an attempt, until when that may be used: the content of a ticket and of a claim."""

    attempt: str
    partner_user: str
    account_identifier: str | None
    until: datetime
    known_as: str | None = None  # what people see, where partner_user says nothing to them


def begin(nonce: str, time: str) -> Attempt:
    """Return a new attempt with ids of 128 random bits."""
    return Attempt(id=secrets.token_urlsafe(16), secret=secrets.token_urlsafe(16), nonce=nonce, time=time)


def is_id(text: str) -> bool:
    """Say whether this can be an attempt's public id."""
    return _ID.fullmatch(text) is not None


class Seals:
    """Seals and opens what browsers carry; a value opens only as what it was sealed for, and in its own installation."""

    def __init__(self, keys: Keyring, namespace: str) -> None:
        self._keys = keys
        self._namespace = namespace

    def cookie(self, attempt: Attempt) -> str:
        """Return the cookie's value."""
        return self._seal(attempt, "cookie")

    def attempt(self, cookie: str) -> Attempt:
        """Return the attempt of a cookie, or raise Forbidden."""
        return self._open(cookie, Attempt, "cookie")

    def ticket(self, signed: Signed) -> str:
        """Return a ticket to put into the finish URL."""
        return self._seal(signed, "ticket")

    def redeem(self, ticket: str, attempt: Attempt, now: datetime) -> Signed:
        """Return who signed in, or raise Forbidden where the ticket is no ticket, too old, or another attempt's."""
        return _checked(self._open(ticket, Signed, "ticket"), attempt, now)

    def claim(self, signed: Signed, attempt: Attempt) -> str:
        """Return the hidden field of the confirmation form: who signed in, and the proof that this browser was shown it."""
        return self._seal(signed, "claim", attempt.secret)

    def confirmed(self, claim: str, attempt: Attempt, now: datetime) -> Signed:
        """Return who signed in as the form said, or raise Forbidden where it was not shown to this browser."""
        return _checked(self._open(claim, Signed, "claim", attempt.secret), attempt, now)

    def _seal(self, value: msgspec.Struct, *purpose: str) -> str:
        sealed = self._keys.seal(msgspec.json.encode(value), ("link", self._namespace, *purpose))
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def _open(self, text: str, kind: type[S], *purpose: str) -> S:
        try:
            sealed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            return msgspec.json.decode(self._keys.open(sealed, ("link", self._namespace, *purpose)), type=kind)
        except (Rejected, KeyMissing, Error, UnicodeError, msgspec.MsgspecError) as error:
            raise Forbidden(ANOTHER_BROWSER, reason=f"{purpose[0]}_unreadable") from error


def _checked(signed: Signed, attempt: Attempt, now: datetime) -> Signed:
    if signed.attempt != attempt.id:
        raise Forbidden(ANOTHER_BROWSER, reason="another_attempt")
    if now > signed.until:
        raise Forbidden(TOO_LATE, reason="ticket_too_old")
    return signed
