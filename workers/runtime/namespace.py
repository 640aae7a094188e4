"""A store belongs to one namespace: staging and production share Ring's credentials and must never share rows."""

from typing import Final

from sqlalchemy import Column, String, Table, select

from schemas.errors import Misconfigured
from workers.runtime.database import Database, metadata

installation: Final = Table(
    "installation", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False)
)


async def check(database: Database, namespace: str) -> None:
    """Record the namespace in a new store; Misconfigured where the store belongs to another."""
    async with database.begin() as connection:
        query = select(installation.c.value).where(installation.c.name == "namespace")
        found = (await connection.execute(query)).scalar_one_or_none()
        if found is None:
            await connection.execute(installation.insert().values(name="namespace", value=namespace))
        elif found != namespace:
            raise Misconfigured(
                f"this store belongs to namespace {found!r}, but RINGHOOK_NAMESPACE is {namespace!r}: "
                "set it back, or give the other namespace a store of its own (RINGHOOK_STORE_URL)"
            )
