"""A destination that is added to a running installation gets what happens from then on, unless it asks for more."""

import base64
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.demo.scene import Scene, opened
from tests.chaos.world import Sink, until

SECRET = "whsec_" + base64.b64encode(b"a new destination's 32 byte key!").decode()
ADDED = """
[[destination]]
name = "{name}"
url = "{url}"
secret_env = "ADDED_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]
deliver_unlinked = true
{more}
"""


async def told(scene: Scene) -> str:
    """Send one webhook, wait until the destination that was always there has it, and return its id."""
    webhook = scene.ring.make("button_press", scene.ring.world.add_account())
    assert await scene.ring.sender.deliver(webhook) == "delivered"
    assert await until(lambda: webhook.request_id in scene.archive.ids, 30)
    return str(webhook.request_id)


@pytest.mark.timeout(120)
async def test_a_new_destination_begins_when_it_is_added_and_from_asks_for_more(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(opened(tmp_path, ADDED_SECRET=SECRET, RINGHOOK_WAITING_S="1"))
        new, greedy = [await stack.enter_async_context(Sink().open()) for _ in range(2)]
        before = await told(scene)
        with (tmp_path / "ringhook.toml").open("a") as toml:
            toml.write(ADDED.format(name="new", url=new.url, more=""))
            toml.write(ADDED.format(name="greedy", url=greedy.url, more='from = "first"'))
        up = scene.made.roles["up"]
        await up.stop()
        await up.start()
        after = await told(scene)
        assert await until(lambda: after in new.ids and after in greedy.ids, 30)
        await up.process.kill()  # what is held of its birth outlives us
        await up.start()
        last = await told(scene)
        assert await until(lambda: last in new.ids and last in greedy.ids, 30)
    assert [*dict.fromkeys(new.ids)] == [after, last]  # what was in flight at the kill may come twice
    assert [*dict.fromkeys(greedy.ids)] == [before, after, last]
