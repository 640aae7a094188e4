"""`/v1/destinations`: what is answered to a wish for one that is gone from the configuration."""

from collections.abc import AsyncIterator

import pytest

from tests.ingress.looking import Desk, desk
from workers.runtime.clock import utc_now


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


async def test_who_is_gone_from_the_configuration_and_closed_is_opened_and_told_to_be_neither(at: Desk) -> None:
    at.destinations.add("crm")
    status, seen = await at.post("/v1/destinations/crm/pause", {})
    at.destinations.remove("crm")
    assert (status, seen["state"], seen["closed_by"]) == (200, "paused", "operate")
    status, seen = await at.post("/v1/destinations/crm/resume", {})
    assert (status, seen["name"], seen["state"], seen["closed_at"], seen["copies"]) == (200, "crm", "not configured", None, 0)
    status, refused = await at.post("/v1/destinations/crm/resume", {})
    assert (status, refused["error"]["message"]) == (404, "No destination is called so; there are: alerts.")
    assert [one["name"] for one in (await at.told("/v1/destinations"))["destinations"]] == ["alerts"]


async def test_who_is_configured_and_run_by_nobody_is_told_as_such(at: Desk) -> None:
    await at.copy("one", utc_now(), None)
    at.destinations.add("crm")
    status, seen = await at.post("/v1/destinations/crm/resume", {})
    assert (status, seen["state"]) == (200, "not running")
