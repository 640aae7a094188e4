from structlog.testing import capture_logs

from workers.runtime.delay import AGAIN, LONG, Delay


def test_a_delay_is_told_when_it_begins_once_a_minute_and_when_it_is_over() -> None:
    now = 0.0
    delay = Delay(lambda: now)
    with capture_logs() as logged:
        while now <= 1.5 * AGAIN:
            for lane in range(12):
                delay.waits("step.delayed", "the store is away", job="dispatch", lane=lane)
            now += 1
        delay.goes_on("step.resumed", job="dispatch")
        delay.goes_on("step.resumed", job="dispatch")
        delay.waits("step.delayed", "the store is away", job="dispatch")
    assert [(line["event"], line["log_level"], line.get("seconds")) for line in logged] == [
        ("step.delayed", "warning", None),
        ("step.delayed", "warning", None),
        ("step.resumed", "info", 91),
        ("step.delayed", "warning", None),
    ]


def test_another_reason_is_told_at_once_and_two_that_alternate_once_a_minute_each() -> None:
    delay = Delay(lambda: 0.0)
    with capture_logs() as logged:
        for _ in range(10):
            delay.waits("sweep.delayed", "refused", sweep="lag")
            delay.waits("sweep.delayed", "silent", sweep="lag")
    assert [(line["why"], line["sweep"]) for line in logged] == [("refused", "lag"), ("silent", "lag")]


def test_the_end_of_a_short_wait_is_no_news_and_the_next_short_one_is_neither() -> None:
    now = 0.0
    delay = Delay(lambda: now)
    with capture_logs() as logged:
        for _ in range(20):
            delay.waits("step.delayed", "serialization")
            now += LONG / 10
            delay.goes_on("step.resumed")
    assert [line["event"] for line in logged] == ["step.delayed"]
