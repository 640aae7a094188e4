"""What dispatch remembers. Every row carries (grp, lane, n): it stands once the bus holds step n, and is undone otherwise.

A row that a step takes away is marked with it (`release_n`): it counts no more, and is deleted once that step is true.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table, Text

from workers.runtime import waiting
from workers.runtime.database import metadata


def _step() -> tuple[Column[Any], ...]:
    return (
        *(Column("grp", Text, nullable=False), Column("lane", Integer, nullable=False), Column("n", BigInteger, nullable=False)),
        Column("release_n", BigInteger),
    )


# One row per event that went out or waits: its later copies are duplicates. What is buried gives its claim back.
claims: Final = Table(
    "claim",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("digest", Text, nullable=False),  # of account, type, data id and app: tells a copy from another event of this id
    Column("outcome", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970 when it was made
    *_step(),
    Index(None, "grp", "lane", "n"),
    Index(None, "day"),
    waiting.marked(),
)

# One row per version of an account's link; the newest stands. A tombstone marks them all, and versions begin anew.
accounts: Final = Table(
    "account_view",
    metadata,
    Column("account", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("linked", Boolean, nullable=False),
    Column("partner_user", Text),  # the last one known: a removal does not forget whose events these were
    Column("partner_since", Double, nullable=False),  # events received earlier are another's, or nobody's
    Column("apps", Text, nullable=False),  # by which its events may come, with commas between; empty: nobody can say
    Column("former_apps", Text, nullable=False),  # by which earlier ones may have come too, each with its end
    Column("generation", BigInteger, nullable=False, server_default="0"),  # of the link: microseconds of when its code came
    *(Column("grp", Text, nullable=False), Column("lane", Integer, nullable=False)),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("release_n", BigInteger),
    Index(None, "grp", "lane", "n"),
    waiting.marked(),
)

# Which account had which device, by which app's word; the newest row of the three stands.
devices: Final = Table(
    "device_view",
    metadata,
    Column("device", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("app", Text, primary_key=True),  # whose key signed the event that said so; empty: it was not kept yet
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("held", Boolean, nullable=False),  # False: the device was removed
    Column("at", Double, nullable=False),  # when, by Ring's time of the event that said so
    *(Column("grp", Text, nullable=False), Column("lane", Integer, nullable=False)),
    Column("release_n", BigInteger),
    Index(None, "account"),
    Index(None, "grp", "lane", "n"),
    waiting.marked(),
)

STEPPED: Final = (claims, accounts, devices, *waiting.STEPPED)
