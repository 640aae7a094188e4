"""The world Ring keeps: accounts, codes, tokens, integrations. Pure: every rule takes `now` (epoch seconds) and raises Refusal.

An integration goes `pending` (the user confirmed) → `awaiting` (POST with the nonce) → `completed` (PATCH); a second
confirmation begins again at `pending`, and a removal takes the integration and every token away.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

from deploy.demo.ring import proofs

CODE_S = 60
ACCESS_S = 14_400
REFRESH_S = 30 * 86_400
NONCE_S = 600
SCOPE = "ava.v1:read"

Shape = Literal["flat", "jsonapi"]
Standing = Literal["pending", "awaiting", "completed"]


class Refusal(Exception):
    """Ring says no: an HTTP status, and the title and detail of a documented error."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status, self.title, self.detail = status, title, detail or title


@dataclass
class Client:
    """What the portal gave the partner."""

    client_id: str
    client_secret: str
    hmac_key: str


@dataclass(frozen=True)
class Device:
    """Something with a button, a lens or a sensor."""

    id: str
    name: str
    kind: str = "doorbell"


@dataclass
class Integration:
    """How far one account has come with the partner's app."""

    standing: Standing = "pending"
    account_identifier: str | None = None


@dataclass
class Account:
    """A Ring user, as partners know one: by an opaque id."""

    id: str
    devices: list[Device]
    integration: Integration | None = None
    redirects: dict[str, float] = field(default_factory=dict)  # nonce → epoch seconds of its `time`


@dataclass
class Code:
    """An authorization code; `used` once it was answered with tokens."""

    account: str
    issued: float
    used: bool = False


@dataclass
class Grant:
    """One family of tokens, from one code: the living access tokens, the one refresh token, and the spent ones."""

    account: str
    access: dict[str, float] = field(default_factory=dict)  # token → epoch seconds when it ends
    refresh: str = ""
    refresh_ends: float = 0
    spent: set[str] = field(default_factory=set)
    revoked: bool = False


@dataclass
class Tokens:
    """What the token endpoint answers."""

    access_token: str
    refresh_token: str
    expires_in: int = ACCESS_S
    scope: str = SCOPE
    token_type: str = "Bearer"  # noqa: S105  # a kind, not a secret


@dataclass
class World:
    """Everything Ring knows, and the switches between the answers it has been seen to give."""

    client: Client
    accounts: dict[str, Account] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    shape: Shape = "flat"  # of the App-Integrations answers: both have been seen
    bogus_code: int = 400  # 400, 401 and 403 have been seen
    patch_again: bool = True  # whether a second PATCH to completed is a 200 or an Invalid Status Transition

    def add_account(self, *devices: Device) -> Account:
        """Let a user come into being, with a doorbell where nothing else is said."""
        account = Account(f"ava1.ring.account.{secrets.token_hex(40).upper()}", list(devices) or [doorbell()])
        self.accounts[account.id] = account
        return account

    def confirm(self, account: Account, now: float) -> str:
        """Let the user confirm in the Ring app: the integration waits, and a fresh code goes to the partner."""
        account.integration = Integration()
        code = secrets.token_urlsafe(32)
        self.codes[code] = Code(account.id, now)
        return code

    def redirect(self, account: Account, now: float) -> dict[str, str]:
        """Let the user tap Sign In: the query of the Account Link URL."""
        time = str(int(now * 1000))
        nonce = proofs.nonce(self.client.hmac_key, time, account.id)
        account.redirects[nonce] = now
        return {"nonce": nonce, "time": time}

    def authenticate(self, client_id: str, client_secret: str) -> None:
        """401 invalid_client for anybody but the partner."""
        if (client_id, client_secret) != (self.client.client_id, self.client.client_secret):
            raise Refusal(401, "invalid_client", "The client id or secret is wrong.")

    def exchange(self, code: str, now: float) -> Tokens:
        """Trade a code, once and within 60 s, for the first tokens of a grant."""
        known = self.codes.get(code)
        if known is None:
            raise Refusal(self.bogus_code, "invalid_grant", "The code is not known.")
        if known.used:
            raise Refusal(400, "invalid_grant", "The code was used before.")
        if now - known.issued > CODE_S:
            raise Refusal(400, "invalid_grant", "The code has expired.")
        known.used = True
        grant = Grant(known.account)
        self.grants.append(grant)
        return _issue(grant, now)

    def refresh(self, token: str, now: float) -> Tokens:
        """Rotate: the old refresh token is spent; a spent one that comes again revokes the whole family."""
        grant = next((grant for grant in self.grants if token == grant.refresh or token in grant.spent), None)
        if grant is None or grant.revoked or now > grant.refresh_ends:
            raise Refusal(400, "invalid_grant", "The refresh token is not valid.")
        if token in grant.spent:
            grant.revoked = True
            raise Refusal(400, "invalid_grant", "The refresh token was used before; its grant is revoked.")
        return _issue(grant, now)

    def holder(self, access_token: str, now: float, *, refused: int = 401) -> Account:
        """Return whose living access token this is, or refuse with the status of the endpoint asked."""
        for grant in self.grants:
            if not grant.revoked and grant.access.get(access_token, 0) > now:
                return self.accounts[grant.account]
        raise Refusal(refused, "Unauthorized" if refused == 401 else "Forbidden", "The access token is not valid.")  # noqa: PLR2004

    def claim(self, account: Account, nonce: str | None, identifier: str | None, now: float) -> Integration:
        """POST app-integrations: the nonce of a redirect of this very account, at most 600 s old, makes it `awaiting`."""
        if not nonce:
            raise Refusal(400, "Missing Required Fields", "nonce is required.")
        if identifier is not None and not masked(identifier):
            raise Refusal(400, "Invalid Account Identifier", "account_identifier must be masked.")
        integration = _integration(account)
        if (issued := account.redirects.get(nonce)) is None or not 0 <= now - issued <= NONCE_S:
            raise Refusal(400, "Invalid Nonce", "The nonce does not verify for this account, or has expired.")
        if integration.standing == "completed":
            raise Refusal(400, "Invalid Status Transition", "The integration is completed.")
        integration.standing, integration.account_identifier = "awaiting", identifier
        return integration

    def complete(self, account: Account, status: str | None) -> Integration:
        """PATCH app-integrations: `awaiting` becomes `completed`, and nothing else becomes anything."""
        if not status:
            raise Refusal(400, "Missing Required Fields", "status is required.")
        integration = _integration(account)
        allowed = {"awaiting", "completed"} if self.patch_again else {"awaiting"}
        if status != "completed" or integration.standing not in allowed:
            raise Refusal(400, "Invalid Status Transition", f"{integration.standing} does not become {status}.")
        integration.standing = "completed"
        return integration

    def remove(self, account: Account) -> None:
        """Let the user remove the app: no integration, and no token of the account is good for anything."""
        account.integration = None
        account.redirects.clear()
        for grant in self.grants:
            grant.revoked = grant.revoked or grant.account == account.id


def doorbell(name: str = "Front Door") -> Device:
    """Return a doorbell with an id as long as real ones."""
    return Device(f"ava1.ring.device.{secrets.token_hex(40).upper()}", name)


def masked(identifier: str) -> bool:
    """Say whether an identifier hides whose it is: stars in it, and in the local part of an address."""
    return re.fullmatch(r"[^@]*\*[^@]*(@.+)?", identifier) is not None


def _integration(account: Account) -> Integration:
    if account.integration is None:
        raise Refusal(404, "Not Found", "There is no integration for this account.")
    return account.integration


def _issue(grant: Grant, now: float) -> Tokens:
    if grant.refresh:
        grant.spent.add(grant.refresh)
    tokens = Tokens(secrets.token_urlsafe(96), secrets.token_urlsafe(96))
    grant.access[tokens.access_token] = now + tokens.expires_in
    grant.refresh, grant.refresh_ends = tokens.refresh_token, now + REFRESH_S
    return tokens
