"""How far a group is behind."""

import sqlite3
from collections.abc import Mapping

from workers.bus.contract import Lag
from workers.bus.sqlite.deeds import positions
from workers.bus.sqlite.file import rowid
from workers.bus.sqlite.times import moment


def lag(link: sqlite3.Connection, group: str, tails: Mapping[int, int]) -> Lag:
    """Return what lies between the group's positions and the ends (by slot), and the time of the oldest of it."""
    held = positions(link, group)
    behind = {slot: position for slot, position in held.items() if position < tails.get(slot, 0)}
    query = "select time from record where id >= ? and id < ? order by id limit 1"
    oldest = [
        link.execute(query, (rowid(slot, position), rowid(slot, tails[slot]))).fetchall() for slot, position in behind.items()
    ]
    times = [rows[0][0] for rows in oldest if rows]
    waiting = sum(tails[slot] - position for slot, position in behind.items())
    return Lag(records=waiting, oldest=moment(min(times)) if times else None)
