"""What the bus tells Prometheus, whichever engine it is."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

PUBLISH_SECONDS: Final = Histogram(
    "ringhook_bus_publish_seconds",
    "Time from a publish to the bus holding all its records",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
PUBLISH_FAILURES: Final = Counter(
    "ringhook_bus_publish_failures_total",
    "Publishes that were not confirmed, by reason: down, deadline, refused, full, too_large",
    ["reason"],
)
RECORDS_PUBLISHED: Final = Counter("ringhook_bus_records_published_total", "Records that the bus confirmed, outputs of lanes too")
RECORDS_EXPIRED: Final = Counter(
    "ringhook_bus_records_expired_total", "Offsets that left the log before their group had read them, by group", ["group"]
)
COMMITS: Final = Counter("ringhook_bus_commits_total", "Commits of lanes, by outcome: done, refused, unknown", ["outcome"])
COMMIT_SECONDS: Final = Histogram(
    "ringhook_bus_commit_seconds",
    "Time a lane waited for its commit",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
COMMITS_MERGED: Final = Histogram(
    "ringhook_bus_commits_merged_count", "Commits of lanes that one transaction carried", buckets=(1, 2, 3, 4, 6, 8, 12, 24)
)
SESSIONS_ENDED: Final = Counter(
    "ringhook_bus_sessions_ended_total",
    "Sessions of lanes that ended, by reason: stop, rebalance, refused, unknown, unreachable, expired, revoked, returned, "
    "failed, broken",
    ["reason"],
)
CONSUMERS_REBUILT: Final = Counter(
    "ringhook_bus_consumers_rebuilt_total",
    "Group members given up and built anew, by reason: broken, stalled, unknown",
    ["reason"],
)
FILE_BYTES: Final = Gauge(
    "ringhook_bus_file_bytes", "Bytes of the SQLite bus: used by records, its cap, free on its disk", ["what"]
)
