"""Ring's envelope, how it came, and what is known of the account → the event that partners receive."""

import msgspec

from schemas import events
from schemas.events import Event, EventData
from schemas.records import App
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import Envelope


class View(msgspec.Struct, frozen=True):
    """What dispatch knows of an account's link. The default: nothing."""

    linked: bool = False
    partner_user: str | None = None


NOTHING = View()


def normalise(envelope: Envelope, arrival: Arrival, body: bytes, account: str, view: View = NOTHING) -> Event:
    """Return the event; `body` is Ring's JSON, embedded untouched (`envelope` is its parse, so it is valid JSON).

    `account` is the envelope's, or the one that the device was found to belong to. Only a linked account's events name the
    partner's user.
    """
    return Event(
        id=envelope.request_id,
        type=events.event_type(envelope.type),
        subject=envelope.device,
        time=envelope.time or arrival.received_at,
        accountid=account,
        partneruserid=view.partner_user if view.linked else None,
        linked=view.linked,
        data=EventData(
            received_at=arrival.received_at,
            motion=envelope.motion,
            component_ids=envelope.component_ids,
            subscription=envelope.subscription,
            recognised=envelope.recognised,
            payload=msgspec.Raw(body),
        ),
    )


def digest(envelope: Envelope, account: str | None, app: App) -> str:
    """Return the digest of a claim: account, type, data id and app, so that no app's event passes for a copy of another's."""
    return events.digest(account, envelope.type, envelope.data_id, app)
