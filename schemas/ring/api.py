"""What the linker says to Ring's OAuth and API, and how both answer shapes are read; what a status means is in `answers`.

Source: developer.amazon.com/docs/ring/: account-linking.html, app-integrations.html, api-documentation.html.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec
import orjson

from schemas.errors import Rejected
from schemas.ring import fields
from schemas.ring.echo import without

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path, appended to RINGHOOK_RING_OAUTH_URL
ACCOUNT_PATH: Final = "/v1/users/me"
DEVICES_PATH: Final = "/v1/devices"
INTEGRATION_PATH: Final = "/v1/accounts/me/app-integrations"  # POST claims, PATCH completes
COMPLETED: Final = "completed"
_LIFETIME: Final = 14_400  # seconds; what Ring's access tokens live where an answer does not say


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """A token answer. The refresh token rotates at each refresh; `expires_in` is seconds from when Ring answered."""

    access_token: str
    refresh_token: str | None  # None: the answer brought none, the old one stands
    expires_in: int
    scope: str = ""
    token_type: str = "Bearer"  # noqa: S105 - a kind, not a token

    def __repr__(self) -> str:
        """Hide both tokens."""
        return f"Tokens(expires_in={self.expires_in}, scope={self.scope!r})"


def exchange_form(client_id: str, client_secret: str, code: str) -> dict[str, str]:
    """Return the form fields that trade a code for tokens."""
    return {"grant_type": "authorization_code", "client_id": client_id, "client_secret": client_secret, "code": code}


def refresh_form(client_id: str, client_secret: str, refresh_token: str) -> dict[str, str]:
    """Return the form fields that trade a refresh token for the next pair."""
    return {
        "grant_type": "refresh_token",
        "client_id": client_id,
        "client_secret": client_secret,
        "refresh_token": refresh_token,
    }


def claim_body(nonce: str, account_identifier: str | None) -> bytes:
    """Return the JSON of the POST that claims an account; the identifier is masked (`u***r@example.com`)."""
    identified = {"account_identifier": account_identifier} if account_identifier else {}
    return orjson.dumps({**identified, "nonce": nonce})


def complete_body() -> bytes:
    """Return the JSON of the PATCH that wakes an integration."""
    return orjson.dumps({"status": COMPLETED})


def read_tokens(body: bytes) -> Tokens:
    """Return the tokens of a 2xx answer, or raise Rejected (`unreadable`): with a code, they are lost then."""
    root = _root(body)
    access, refresh = _secret(root.get("access_token")), _secret(root.get("refresh_token"))
    if not access:
        raise Rejected("Ring's token answer holds no access token", reason="unreadable")
    return Tokens(
        access_token=access,
        refresh_token=refresh,
        expires_in=_seconds(root.get("expires_in")),
        scope=fields.text(root.get("scope")) or "",
        token_type=fields.text(root.get("token_type")) or "Bearer",
    )


def read_account(body: bytes) -> str:
    """Return the account id of a 2xx answer of users/me (`data.id`, also seen flat), or raise Rejected (`unreadable`)."""
    root = _root(body)
    account = fields.text(fields.mapping(root, "data").get("id")) or fields.text(root.get("id"))
    if not account:
        raise Rejected("Ring's answer to users/me holds no account id", reason="unreadable")
    return account


def read_errors(body: bytes, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """Return what an error body says: titles and details of JSON:API, or OAuth's error and description; each ≤ 200 characters.

    The `secrets` that the request carried are taken out of it, and what looks like one.
    """
    root = _root(body)
    listed = root.get("errors")
    entries = [entry for entry in listed if isinstance(entry, dict)][:8] if isinstance(listed, list) else []
    said = [entry.get(name) for entry in entries for name in ("title", "detail")]
    said += [root.get(name) for name in ("error", "error_description", "message")]
    return tuple(text for value in said if (text := _sentence(value, secrets)))


def _root(body: bytes) -> dict[str, Any]:
    try:
        root = orjson.loads(body)
    except ValueError:
        return {}
    return root if isinstance(root, dict) else {}


def _sentence(value: object, secrets: Collection[str]) -> str:
    text = without(value, secrets) if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:200]).strip()


def _secret(value: object) -> str | None:
    found = fields.text(value, 16 * 1024)
    return found if found and found.isascii() and " " not in found else None  # it goes into a header


def _seconds(value: object) -> int:
    """Return a lifetime; absent or absurd: Ring's usual four hours."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0  # noqa: PLR2004 - three years
    return seconds or _LIFETIME
