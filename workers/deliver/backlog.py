"""How many events a destination has not got, wherever they wait: what is asked about before it goes."""

from schemas.topics import EVENT_RECORDED, delivery
from workers.bus.contract import Bus
from workers.deliver.replay import held_group, live
from workers.runtime import waiting
from workers.runtime.database import Database


async def backlog(bus: Bus, database: Database, destination: str) -> int:
    """Return how many events wait on the bus, in rows, or were asked for once more. Raises Unavailable."""
    group = delivery(destination)
    async with database.read() as connection:
        rows = await waiting.count(connection, group) + await waiting.count(connection, held_group(destination))
        again = sum(one.total for one in (await live(connection)).get(destination, ()))
    return rows + again + (await bus.lag(group, (EVENT_RECORDED.name,))).records
