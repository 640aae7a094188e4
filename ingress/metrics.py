"""What the three doors tell Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

REQUESTS: Final = Counter("ringhook_requests_total", "HTTP requests answered, by route and status", ["route", "answer"])
IN_FLIGHT: Final = Gauge("ringhook_requests_in_flight", "Requests that are being published now, by route", ["route"])
BUFFERED: Final = Gauge("ringhook_request_buffered_bytes", "Bytes of large request bodies held in memory now")
VERIFY_FAILURES: Final = Counter("ringhook_webhook_verify_failures_total", "Webhooks refused, by what was wrong", ["reason"])
REFUSED_BY_BOUND: Final = Counter("ringhook_requests_refused_by_bound_total", "Requests answered 503 at a bound", ["route"])
CRASHES: Final = Counter("ringhook_request_crashes_total", "Requests answered 503 because of a bug of ours", ["route"])
CONNECTIONS: Final = Gauge("ringhook_connections", "Open connections, by listener", ["server"])
CONNECTIONS_CUT: Final = Counter("ringhook_connections_cut_total", "Connections closed by us, by why", ["why"])
NOTICES_DROPPED: Final = Counter("ringhook_notices_dropped_total", "Sampled facts that found no room or no bus")
SIGNIN_FAILURES: Final = Counter("ringhook_signin_failures_total", "OIDC sign-ins that did not come to an end, by why", ["why"])
