"""What an HTTP status of Ring's OAuth or API means for the call that drew it: a table, so that the linker only acts.

Source: developer.amazon.com/docs/ring/account-linking.html and app-integrations.html; statuses seen in the field.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from schemas.ring import api

Call = Literal["exchange", "refresh", "account", "claim", "complete", "devices"]
Meaning = Literal[
    "done",  # 2xx, also with a body that cannot be read
    "refused",  # trying the same again will not help: bad or used code, refused refresh token, missing fields
    "client",  # our own client id or secret is refused, whatever the token or code is worth
    "doubtful",  # a 4xx that does not speak of the refresh token, or is undocumented of POST and PATCH: a gate's, or a wrong URL
    "unauthorised",  # the access token is not good: refresh it, then the same call again
    "invalid_nonce",  # POST: this nonce is not this account's, or its 600 s are over
    "transition",  # PATCH: not from the state it is in; after an ambiguous POST: there was no POST, else it is completed
    "absent",  # 404: the user removed the app, or no integration is pending
    "limited",  # 429: not done; again after `after`
    "unavailable",  # not done; again later
    "ambiguous",  # may have been done: never send a code again, ask with PATCH after a POST, remember a PATCH
]
RETRY_LIMIT: Final = timedelta(hours=1)  # a Retry-After beyond it is taken as this
# Statuses by which a server says that it did not take the request up.
_NOT_DONE: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.SERVICE_UNAVAILABLE)
# What a second call may be answered to otherwise than the first: a lost answer is not the same as no call.
_ONCE: Final = ("exchange", "refresh", "claim", "complete")
_DOCUMENTED: Final = ("claim", "complete")  # a refusal of Ring's own is 400 or 404 there
_REFUSED: Final = "invalid_grant"  # RFC 6749, 5.2: this refresh token is good for nothing
_OURS: Final = ("invalid_client", "unauthorized_client")  # RFC 6749, 5.2: our credentials are refused, not the token


class Answer(msgspec.Struct, frozen=True):
    """What the answer means; `said` is Ring's own words, for the finding; `after` is how long Ring asks us to wait."""

    meaning: Meaning
    said: tuple[str, ...] = ()
    after: timedelta | None = None


def classify(
    call: Call, status: int, retry_after: str | None, body: bytes, now: datetime, *, secrets: Collection[str] = ()
) -> Answer:
    """Return what `status` (with its Retry-After header, if any) means for this call; `now` is aware. Never raises.

    `secrets` are those that the request carried: Ring's words are told without them.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer("done")
    said = api.read_errors(body, secrets)
    return Answer(_meaning(call, status, " ".join(said).lower()), said, wait(retry_after, now))


def wait(retry_after: str | None, now: datetime) -> timedelta | None:
    """Return a Retry-After (seconds, or an HTTP date) as 0 to 1 h from `now`, or None where there is none to understand."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), RETRY_LIMIT)
    try:
        date = parsedate_to_datetime(text)
        moment = date if date.tzinfo else date.replace(tzinfo=UTC)
        return min(max(moment - now, timedelta()), RETRY_LIMIT)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _meaning(call: Call, status: int, said: str) -> Meaning:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "limited"
    if status < HTTPStatus.BAD_REQUEST or status in _NOT_DONE:  # also redirects, which are not followed
        return "unavailable"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "ambiguous" if call in _ONCE else "unavailable"
    if call in {"exchange", "refresh"} and any(word in said for word in _OURS):
        return "client"
    if call == "refresh":
        return "refused" if _REFUSED in said else "doubtful"
    return "refused" if call == "exchange" else _refused(call, status, said)


def _refused(call: Call, status: int, said: str) -> Meaning:
    """Return what a 4xx of the API means: a bad token is 401, at users/me also 403."""
    if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and call == "account"):
        return "unauthorised"
    if status == HTTPStatus.NOT_FOUND:
        return "absent"
    if status == HTTPStatus.BAD_REQUEST and call == "claim" and "nonce" in said:
        return "invalid_nonce"
    if status == HTTPStatus.BAD_REQUEST and call == "complete" and "transition" in said:
        return "transition"
    return "doubtful" if call in _DOCUMENTED and status != HTTPStatus.BAD_REQUEST else "refused"
