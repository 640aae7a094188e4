"""Two readings of Ring's documents, made apart, agree: what the judge sends is understood, what we send it accepts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.demo.ring import proofs, webhooks
from deploy.demo.ring.app import INTEGRATION
from deploy.demo.ring.faults import Fault
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Client, Shape, World
from linker.outcomes import Done, NotSent, Refused, Unauthorised, Unclear
from linker.ringapi import Credentials, RingApi, connect
from schemas.ring import envelope
from schemas.ring.api import Tokens
from schemas.ring.peek import peek
from workers.runtime.secrets import Secret

CLIENT = Client("the-client", "the-secret", "the-key")
NOW = datetime(2026, 2, 13, 13, 40, tzinfo=UTC)
NOW_NS = 1_770_989_997_200_155_525
NOWHERE = Partner("http://127.0.0.1:9/a", "http://127.0.0.1:9/b", "http://127.0.0.1:9/c")
A_DAY = World(CLIENT)
SENT = list(webhooks.every(A_DAY.add_account(), NOW_NS, client_id="the-client"))


@pytest.fixture
async def ring() -> AsyncIterator[Ring]:
    async with running(NOWHERE, CLIENT) as ring:
        yield ring


@pytest.fixture
async def ours(ring: Ring) -> AsyncIterator[RingApi]:
    credentials = Credentials(CLIENT.client_id, Secret(CLIENT.client_secret), Secret(CLIENT.hmac_key))
    async with connect(api_url=ring.url, oauth_url=ring.url, apps={"first": credentials}) as api:
        yield api


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.type)
def test_we_read_every_webhook_the_judge_sends(sent: webhooks.Webhook) -> None:
    read = envelope.parse(sent.body, NOW)
    assert (read.request_id, read.type, read.recognised) == (sent.request_id, sent.type, True)
    assert read.account == (None if read.version == "1.0" else sent.account)
    assert peek(sent.body).type == sent.type


def test_the_older_shapes_are_kept_though_not_recognised() -> None:
    account = A_DAY.add_account()
    for sent in webhooks.older(account, account.devices[0], NOW_NS):
        assert envelope.parse(sent.body, NOW).recognised is False


@pytest.mark.parametrize("shape", ["flat", "jsonapi"])
async def test_the_judge_accepts_a_link_of_ours(ring: Ring, ours: RingApi, shape: Shape) -> None:
    ring.world.shape = shape
    account = ring.world.add_account()
    tokens = await ours.exchange("first", ring.world.confirm(account, ring.books.clock()))
    assert isinstance(tokens, Tokens)
    assert await ours.identify(tokens.access_token) == Done(account=account.id)
    nonce = parse_qs(urlsplit(ring.redirect_url(account)).query)["nonce"][0]
    assert await ours.claim(tokens.access_token, nonce, "u***r@example.com") == Done()
    assert await ours.complete(tokens.access_token) == Done()
    assert tokens.refresh_token is not None
    assert isinstance(await ours.refresh("first", tokens.refresh_token), Tokens)
    assert [call.status for call in ring.ledger.calls] == [200] * 5


async def test_we_understand_how_the_judge_refuses(ring: Ring, ours: RingApi) -> None:
    account = ring.world.add_account()
    code = ring.world.confirm(account, ring.books.clock())
    tokens = await ours.exchange("first", code)
    assert isinstance(tokens, Tokens)
    assert isinstance(await ours.exchange("first", "bogus"), Refused)
    assert isinstance(await ours.identify("not a token"), Unauthorised)
    assert isinstance(await ours.claim(tokens.access_token, proofs.nonce("other key", "1", account.id), None), Refused)
    ring.faults.next(f"PATCH {INTEGRATION}", Fault(drop=True))
    assert isinstance(await ours.complete(tokens.access_token), Unclear)
    ring.books.budget.rate = 0
    limited = await ours.complete(tokens.access_token)
    assert isinstance(limited, NotSent)
    assert limited.limited
