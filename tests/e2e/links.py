"""What the partner sees of a link."""

import asyncio

from deploy.demo.ring.state import Account
from deploy.demo.scene import Scene
from tests.chaos.world import until

PATIENCE_S = 60.0


async def linked_event(scene: Scene, account: Account) -> dict[str, object]:
    """Send webhooks until one comes out that knows of the link: the news travels on a topic of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            webhook = scene.ring.make("button_press", account)
            assert await scene.ring.sender.deliver(webhook) == "delivered"
            assert await until(lambda name=webhook.request_id: name in scene.archive.ids, PATIENCE_S)  # type: ignore[misc] # bound now
            event = next(event for event in scene.archive.events if event["id"] == webhook.request_id)
            if event["linked"]:
                return event
