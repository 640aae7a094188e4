"""What a destination asks of its requests is what it gets from a whole installation."""

import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deploy.demo.scene import opened
from tests.chaos.world import until
from tests.workers.deliver.certificates import Authority, demanding
from tests.workers.deliver.support import Sink, served
from workers.runtime.signing import SigningKey, generate

ADDED = """
[[destination]]
name = "own"
url = "{url}/ring"
secret_env = "OWN_KEY"
sign = "v1a"
shape = "{{id: id, kind: 'ring', what: type}}"
rate = 50
ca_file = "tls/authority.pem"
cert_file = "tls/us.pem"
key_file = "tls/us.key"
allow_networks = ["127.0.0.0/8"]
deliver_unlinked = true
"""


@pytest.mark.timeout(120)
async def test_a_destination_is_spoken_to_as_it_asks(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    authority, key, sink, app = Authority(tmp_path / "tls"), generate(), Sink(), web.Application()
    authority.vouch("us")
    app.router.add_post("/ring", sink.ring)
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(opened(tmp_path, OWN_KEY=key.reveal(), RINGHOOK_WAITING_S="1"))
        url = await stack.enter_async_context(served(app, tls=demanding(authority, authority.vouch("server"))))
        with (tmp_path / "ringhook.toml").open("a") as toml:
            toml.write(ADDED.format(url=url))
        up = scene.made.roles["up"]
        await up.stop()
        await up.start()
        webhook = scene.ring.make("button_press", scene.ring.world.add_account())
        assert await scene.ring.sender.deliver(webhook) == "delivered"
        assert await until(lambda: sink.ids, 30)
    headers, body = sink.requests[0]
    assert json.loads(body) == {"id": webhook.request_id, "kind": "ring", "what": "com.ring.button_press"}
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(SigningKey(key).public.removeprefix("whpk_")))
    signed = f"{webhook.request_id}.{headers['webhook-timestamp']}.".encode() + body
    public.verify(base64.b64decode(headers["webhook-signature"].removeprefix("v1a,")), signed)
