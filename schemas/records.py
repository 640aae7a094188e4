"""What our own topics carry besides Ring's raw bodies and CloudEvents: JSON by msgspec, no secret in the clear."""

from datetime import datetime
from typing import Final, Literal

import msgspec

CLOCKS_APART: Final = 0.5  # seconds by which two ingress hosts' clocks may differ: of their times, which came first is not surer
App = str  # the id of an app in Ring's portal, as `schemas.ring.app` makes it of its key: whatever variables hold that now
LinkState = Literal[
    "received",
    "exchanged",
    "unclaimed",
    "claimed",
    "awaiting",
    "completed",
    "expired",
    "lost",
    "rejected",
    "contested",
    "removed",
]


class CodeReceived(msgspec.Struct, frozen=True, kw_only=True):
    """`code.received`, key: SHA-256 of the code in hex. `code` is a sealed box that only the linker opens."""

    code: bytes
    received_at: datetime
    app: App
    stranger: bool = False  # came by the plain path, which anybody can call


class LinkRequested(msgspec.Struct, frozen=True, kw_only=True):
    """`link.requested`, key: attempt id. `secret` is a sealed box around LinkSecret; `time` is the text as Ring sent it."""

    attempt: str
    secret: bytes
    time: str
    partner_user: str
    requested_at: datetime


class LinkSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What of a link request nobody but the linker may read."""

    nonce: str
    account_identifier: str | None = None  # masked, as Ring is to show it


class AccountChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`account.changed`, key: account id. Readers ignore a `version` that is not higher than the one they hold."""

    account: str
    version: int
    generation: int
    state: LinkState
    linked: bool
    partner_user: str | None = None
    last_partner_user: str | None = None  # whose it was, where it is not linked any more
    at: datetime
    since: datetime | None = None  # where it is linked: events received earlier are not `partner_user`'s
    apps: tuple[App, ...] = ()  # by which its webhooks may come: those of its open grants; none: nobody can say
    reconnect: bool = False  # its link's tokens are lost: its user must sign in for a new connection of the app in the Ring app

    @property
    def whose(self) -> str | None:
        """Return whose it is, or was."""
        return self.partner_user or self.last_partner_user


class SubscriptionTold(msgspec.Struct, frozen=True, kw_only=True):
    """What Ring says of an account's subscription: `state` is active, inactive, or a newer word; `expires_at` is Ring's text."""

    state: str
    plan_id: str | None = None
    kind: str | None = None  # paid, trial
    expires_at: str | None = None


class AccountTold(msgspec.Struct, frozen=True, kw_only=True):
    """`account.told`, key: account id. What a signed webhook says that the linker must know; `at` is Ring's time of it."""

    account: str
    at: datetime
    app: App | None = None  # whose key signed it
    removed: bool = False  # the user removed that app: Ring is asked whether that is so
    subscription: SubscriptionTold | None = None


Notice = Literal[
    "code",
    "code.form_unknown",
    "code.wrong_secret",
    "redirect",
    "redirect.stale",
    "redirect.malformed",
    "webhook",
    "webhook.refused",
    "probe",
]


class EdgeNoticed(msgspec.Struct, frozen=True, kw_only=True):
    """`edge.noticed`, key: kind. A sampled fact for the findings; `proven` only where a signature, nonce or exchange held."""

    kind: Notice
    at: datetime
    proven: bool
    detail: dict[str, str] = {}  # names from a fixed list, values cut and escaped; never a code, nonce, key or body


class DeliveryAttempted(msgspec.Struct, frozen=True, kw_only=True):
    """`delivery.attempted`, key: account id. What one can ask for; the record says more, and nothing of the event's data."""

    destination: str
    event: str
    account: str
    verdict: str  # accepted, refused, failed, throttled, gone; cancelled, unwanted: nothing was sent
