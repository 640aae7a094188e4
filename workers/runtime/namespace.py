"""A store belongs to one namespace: staging and production share Ring's credentials and must never share rows."""

from typing import Final

from sqlalchemy import Column, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import Misconfigured
from workers.runtime.database import Database, metadata
from workers.runtime.rows import insert_once

installation: Final = Table(
    "installation", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False)
)


async def check(database: Database, namespace: str) -> None:
    """Record the namespace in a new store; Misconfigured where the store belongs to another."""
    async with database.begin() as connection:
        found = await _recorded(connection)
        if found is None:  # roles start together: the first one's word stands
            await insert_once(connection, installation, {"name": "namespace", "value": namespace})
            found = await _recorded(connection)
        if found != namespace:
            raise Misconfigured(
                f"this store belongs to namespace {found!r}, but RINGHOOK_NAMESPACE is {namespace!r}: "
                "set it back, or give the other namespace a store of its own (RINGHOOK_STORE_URL)"
            )


async def _recorded(connection: AsyncConnection) -> str | None:
    query = select(installation.c.value).where(installation.c.name == "namespace")
    found: str | None = await connection.scalar(query)
    return found
