"""The world Ring keeps: accounts, codes, tokens, integrations. Pure: every rule takes `now` (epoch seconds) and raises Refusal.

An integration goes `pending` (the user confirmed) → `awaiting` (POST with the nonce) → `completed` (PATCH); a second
confirmation begins again at `pending`, and a removal takes the integration and every token away. The partner may have two
apps at once: an account has an integration with each, and no code, token or nonce of one is good for the other.
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
    integration: Integration | None = None  # with the partner's first app
    redirects: dict[str, float] = field(default_factory=dict)  # nonce → epoch seconds of its `time`
    client_id: str = ""  # of the app whose standing this is; empty: the first
    elsewhere: dict[str, "Account"] = field(default_factory=dict)  # client id → how this account stands with another app

    def under(self, client_id: str) -> "Account":
        """Return how this account stands with one app."""
        if not client_id:
            return self
        return self.elsewhere.setdefault(client_id, Account(self.id, self.devices, client_id=client_id))


@dataclass
class Code:
    """An authorization code; `grant` is what it was traded for. No client id: the partner's first app."""

    account: str
    issued: float
    client_id: str = ""
    grant: "Grant | None" = None


@dataclass
class Grant:
    """One family of tokens, from one code: the living access tokens, the one refresh token, and the spent ones."""

    account: str
    client_id: str
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
    access_s: int = ACCESS_S  # what access tokens live
    others: dict[str, Client] = field(default_factory=dict)  # the partner's further apps, by client id
    shape: Shape = "flat"  # of the App-Integrations answers: both have been seen
    errors: Shape = "jsonapi"  # of the API's errors
    bogus_code: int = 400  # 400, 401 and 403 have been seen
    patch_again: bool = True  # whether a second PATCH to completed is a 200 or an Invalid Status Transition
    _holders: dict[str, Grant] = field(default_factory=dict)  # by each token that was ever given out

    def add_account(self, *devices: Device) -> Account:
        """Let a user come into being, with a doorbell where nothing else is said."""
        account = Account(f"ava1.ring.account.{secrets.token_hex(40).upper()}", list(devices) or [doorbell()])
        self.accounts[account.id] = account
        return account

    def key_of(self, client_id: str) -> str:
        """Return the HMAC key of an app; empty: of the first."""
        return (self.others.get(client_id) or self.client).hmac_key

    def confirm(self, account: Account, now: float) -> str:
        """Let the user confirm in the Ring app: the integration waits, and a fresh code goes to the partner."""
        account.integration = Integration()
        code = secrets.token_urlsafe(32)
        self.codes[code] = Code(account.id, now, account.client_id)
        return code

    def redirect(self, account: Account, now: float) -> dict[str, str]:
        """Let the user tap Sign In: the query of the Account Link URL."""
        time = str(int(now * 1000))
        nonce = proofs.nonce(self.key_of(account.client_id), time, account.id)
        account.redirects[nonce] = now
        return {"nonce": nonce, "time": time}

    def authenticate(self, client_id: str, client_secret: str) -> str:
        """Return which app this is (empty: the first); 401 invalid_client for anybody but the partner."""
        known = self.client if client_id == self.client.client_id else self.others.get(client_id)
        if known is None or known.client_secret != client_secret:
            raise Refusal(401, "invalid_client", "The client id or secret is wrong.")
        return "" if known is self.client else client_id

    def exchange(self, code: str, now: float, client_id: str = "") -> Tokens:
        """Trade a code, once and within 60 s, for the first tokens of a grant; sent again, it ends that grant (RFC 6749)."""
        known = self.codes.get(code)
        if known is None or known.client_id != client_id:
            raise Refusal(self.bogus_code, "invalid_grant", "The code is not known.")
        if known.grant is not None:
            known.grant.revoked = True
            raise Refusal(400, "invalid_grant", "The code was used before; its grant is revoked.")
        if now - known.issued > CODE_S:
            raise Refusal(400, "invalid_grant", "The code has expired.")
        known.grant = Grant(known.account, client_id)
        self.grants.append(known.grant)
        return self._issue(known.grant, now)

    def refresh(self, token: str, now: float, client_id: str = "") -> Tokens:
        """Rotate: the old refresh token is spent; a spent one that comes again revokes the whole family."""
        grant = self._holders.get(token)
        if grant is None or token in grant.access or grant.client_id != client_id or grant.revoked or now > grant.refresh_ends:
            raise Refusal(400, "invalid_grant", "The refresh token is not valid.")
        if token in grant.spent:
            grant.revoked = True
            raise Refusal(400, "invalid_grant", "The refresh token was used before; its grant is revoked.")
        return self._issue(grant, now)

    def family(self, token: str) -> Grant | None:
        """Return the grant that this token, living or dead, was given out for."""
        return self._holders.get(token)

    def holder(self, access_token: str, now: float, *, refused: int = 401) -> Account:
        """Return whose living access token this is, or refuse with the status of the endpoint asked."""
        grant = self._holders.get(access_token)
        if grant is None or grant.revoked or grant.access.get(access_token, 0) <= now:
            raise Refusal(refused, "Unauthorized" if refused == 401 else "Forbidden", "The access token is not valid.")  # noqa: PLR2004
        return self.accounts[grant.account].under(grant.client_id)

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
        """Let the user remove one app: no integration, and no token of the account with it is good for anything."""
        account.integration = None
        account.redirects.clear()
        for grant in self.grants:
            grant.revoked = grant.revoked or (grant.account, grant.client_id) == (account.id, account.client_id)

    def _issue(self, grant: Grant, now: float) -> Tokens:
        if grant.refresh:
            grant.spent.add(grant.refresh)
        tokens = Tokens(secrets.token_urlsafe(96), secrets.token_urlsafe(96), self.access_s)
        grant.access[tokens.access_token] = now + tokens.expires_in
        grant.refresh, grant.refresh_ends = tokens.refresh_token, now + REFRESH_S
        self._holders |= {tokens.access_token: grant, tokens.refresh_token: grant}
        return tokens


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
