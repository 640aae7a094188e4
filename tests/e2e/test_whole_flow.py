import asyncpg

from deploy.demo.account import reckon
from deploy.demo.scene import Scene
from deploy.demo.walk import Walk, recorded
from deploy.rights import RIGHTS, user


async def test_a_home_is_linked_and_every_kind_of_webhook_arrives(scene: Scene) -> None:
    said: list[str] = []
    walk = Walk(scene, said.append)
    await walk.run()
    lines = reckon(walk.sent, await recorded(scene), scene.alerts, scene.archive)
    assert [line for line in lines if not line.right] == []
    assert not scene.ring.ledger.codes_sent_twice()
    story = "\n".join(said)
    assert "No call from Ring yet" in story
    assert "Ring's signed webhooks arrive" in story
    it_carries_the_partners_own_user_and_rings_payload_untouched(scene)
    await each_role_is_its_own_user_of_postgresql(scene)


def it_carries_the_partners_own_user_and_rings_payload_untouched(scene: Scene) -> None:
    event = next(event for event in scene.alerts.events if event["type"] == "com.ring.button_press")
    assert (event["partneruserid"], event["linked"], event["specversion"]) == ("u-ada", True, "1.0")
    data = event["data"]
    assert isinstance(data, dict)
    assert data["payload"]["data"]["type"] == "button_press"
    assert data["payload"]["meta"]["request_id"] == event["id"]


async def each_role_is_its_own_user_of_postgresql(scene: Scene) -> None:
    """And so whatever the roles did before, here and in every test of the many machines, they did by their own rights."""
    made = scene.made.environment
    if not made["RINGHOOK_STORE_URL"].startswith("postgresql"):
        return
    connection = await asyncpg.connect(made["RINGHOOK_STORE_URL"])
    try:
        found = await connection.fetch(
            "select distinct usename from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    assert {row["usename"] for row in found} == {user(made["RINGHOOK_NAMESPACE"], role) for role in RIGHTS}
