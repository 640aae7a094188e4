"""The bus on one machine: a SQLite file that a single process owns, durable before a publish returns."""

from workers.bus.sqlite.bus import SqliteBus, connect
from workers.bus.sqlite.place import owned

__all__ = ["SqliteBus", "connect", "owned"]
