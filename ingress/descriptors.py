"""How many connections the system lets us hold: running out of descriptors would take bus and store away too."""

import resource
from typing import Final

RESERVED: Final = 128  # descriptors for files, bus, store and the internal listener


def room_for(connections: int) -> int:
    """Raise the process's own soft limit towards what is wanted, and return how many connections fit under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - RESERVED))
