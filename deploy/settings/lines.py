"""On which line each table and key of a TOML text stands; it need not be valid. Pure."""

import re
from typing import Final

HEADER: Final = re.compile(r"^\s*\[(\[?)\s*([A-Za-z0-9_.\-]+)\s*\]")
KEY: Final = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*[=.]")
Lines = dict[tuple[str, int, str | None], int]  # by table, its index among tables of that name, and key


def positions(text: str) -> Lines:
    """Return the line of each (table, its index among tables of that name, key)."""
    lines: Lines = {}
    table, index, seen = "", 0, dict[str, int]()  # seen: the index of the last table of each name
    for number, line in enumerate(text.split("\n"), start=1):
        if header := HEADER.match(line):
            table = header[2]
            index = seen.get(table, -1) + 1 if header[1] else 0
            seen[table] = index
            lines.setdefault((table, index, None), number)
            above, _, name = table.rpartition(".")
            lines.setdefault((above, seen.get(above, 0), name), number)  # [destination.filter] is a key of the table above it
        elif key := KEY.match(line):
            lines.setdefault((table, index, key[1]), number)
    return lines
