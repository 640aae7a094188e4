"""What the runtime tells Prometheus about every worker."""

from typing import Final

from prometheus_client import Counter

WORKER_RESTARTS: Final = Counter("ringhook_worker_restarts_total", "Workers restarted after a crash", ["worker"])
