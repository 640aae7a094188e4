"""What of Ring's webhooks goes to the linker besides: removals and subscriptions, and nothing else."""

from datetime import UTC, datetime

import msgspec
import pytest

from deploy.demo.ring import webhooks
from deploy.demo.ring.state import Account, doorbell
from schemas.records import AccountTold
from schemas.ring.envelope import TYPES
from schemas.topics import ACCOUNT_TOLD
from workers.bus.contract import Held
from workers.dispatch import reading
from workers.dispatch.reading import Webhook
from workers.dispatch.told import told

AT = datetime(2026, 2, 15, 12, 0, 0, 123456, tzinfo=UTC)
ACCOUNT = Account("ava1.ring.account.A", [doorbell()])


def came(kind: str) -> Webhook:
    now_ns = int(AT.timestamp()) * 10**9 + 123_456_789
    made = webhooks.of_type(kind, ACCOUNT, ACCOUNT.devices[0], now_ns, client_id="demo")
    headers = (("received_at", AT.isoformat().encode()), ("request_id", made.request_id.encode()), ("app", b"first"))
    held = Held(topic="webhook.received", key=b"k", value=made.body, headers=headers, index=0, offset=0, time=AT)
    return reading.webhook(held)


def said(kind: str) -> AccountTold:
    (record,) = told(came(kind), ACCOUNT.id)
    assert (record.topic, record.key) == (ACCOUNT_TOLD.name, ACCOUNT.id.encode())
    return msgspec.json.decode(record.value, type=AccountTold)


def test_a_removal_is_told_with_rings_own_time() -> None:
    assert said("app_integration_removed") == AccountTold(account=ACCOUNT.id, at=AT, app="first", removed=True)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_foreign_app_may_tell_of_its_own_removal_alone(kind: str) -> None:
    found = [msgspec.json.decode(record.value, type=AccountTold) for record in told(came(kind), ACCOUNT.id, foreign=True)]
    assert [(one.app, one.removed, one.subscription) for one in found] == (
        [("first", True, None)] if kind == "app_integration_removed" else []
    )


@pytest.mark.parametrize(("kind", "state"), [("subscription_activated", "active"), ("subscription_deactivated", "inactive")])
def test_a_subscription_is_told_with_plan_and_date(kind: str, state: str) -> None:
    found = said(kind)
    assert found.subscription is not None
    assert (found.removed, found.subscription.state, found.subscription.plan_id) == (False, state, "ring.protect.plus")
    assert (found.subscription.expires_at is not None) == (state == "active")


@pytest.mark.parametrize(
    "kind", sorted(TYPES - {"app_integration_removed", "subscription_activated", "subscription_deactivated"})
)
def test_everything_else_is_the_partners_alone(kind: str) -> None:
    assert told(came(kind), ACCOUNT.id) == ()
