"""The table that deliver has for itself: what the first of each waiting line went through (its rows are in `waiting`).

A key that begins with `!` names no line: it marks that an event of a key was buried, and `due_at` is when that may be forgotten.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, Table, Text

from workers.runtime.database import metadata

tries: Final = Table(  # no n: of an event that never waited, or waits no more, nobody asks
    "delivery_try",
    metadata,
    Column("grp", Text, primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),  # whose tries these are
    Column("due_at", Double, nullable=False),  # epoch seconds
    Column("tries", LargeBinary, nullable=False),
)
