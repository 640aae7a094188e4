"""What the runtime tells Prometheus about every worker."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

WORKER_RESTARTS: Final = Counter("ringhook_worker_restarts_total", "Workers restarted after a crash", ["worker"])

LOG_FAILURES: Final = Counter(
    "ringhook_log_write_failures_total", "Times a log line could not be written: its disk is full, its reader gone"
)

BATCHES: Final = Counter("ringhook_batches_total", "Batches a job has committed", ["job"])
STEP_SECONDS: Final = Histogram(
    "ringhook_step_seconds",
    "From a batch in hand to its position, note and outputs committed",
    ["job"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
RECORDS: Final = Counter("ringhook_job_records_total", "Records a job has finished: done, rejected or buried", ["job", "outcome"])
STEP_RETRIES: Final = Counter("ringhook_step_retries_total", "Steps tried again because something was unavailable", ["job"])
SESSIONS: Final = Counter("ringhook_lane_sessions_total", "Sessions of lanes that were opened", ["job"])
GAPS: Final = Counter("ringhook_gap_records_total", "Records that had expired before a job read them", ["job"])
CRASHES: Final = Counter("ringhook_job_crashes_total", "Batches at which a job crashed", ["job"])
BURIED: Final = Counter(
    "ringhook_buried_total", "Single records buried because the job crashes at them or cannot publish them", ["job"]
)
LAG_RECORDS: Final = Gauge("ringhook_lag_records", "Records a group has not committed yet", ["group"])
LAG_SECONDS: Final = Gauge("ringhook_oldest_unprocessed_seconds", "Age of the oldest record a group has not committed", ["group"])
