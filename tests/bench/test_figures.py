from tests.bench import results
from tests.bench.figures import Figure, Run, cells, markdown, versus


def test_a_ratio_is_taken_within_its_round_and_its_median_is_judged() -> None:
    figure = Figure("x", "/s", [10, 30, 20], 0.5, [10, 100, 40])
    assert figure.ratios == [1.0, 0.3, 0.5]
    assert (figure.value, figure.verdict) == (0.5, "yes")


def test_a_figure_without_a_baseline_is_judged_by_itself_and_a_report_by_nothing() -> None:
    assert Figure("p99", "ms", [80, 50, 70], 60, sense="at most").verdict == "**no**"
    assert Figure("cpu", "µs", [480], 0, sense="report").verdict == ""


def test_a_row_shows_medians_with_their_spread() -> None:
    row = cells(Figure("x", "/s", [1000, 3000, 2000], 2.2, [500, 1000, 800]))
    assert row[1:] == ("2,000 (1,000 to 3,000) /s", "800 (500 to 1,000) /s", "2.50 (2.00 to 3.00)", "at least 2.2", "yes")


def test_the_page_names_what_fell_short_and_what_was_not_measured() -> None:
    slow = versus("deliver / bare", 0.5, [Run(40, 2e-4)], [Run(100, 1e-4)], "15,000 events", why="A client takes half of it.")
    quick = versus("ingress / bare", 0.5, [Run(90, 2e-4)], [Run(100, 1e-4)], "64 connections", why="It does more.")
    page = results.page([slow, quick], {"memory": "StartFailed: no"}, 1, "today, on 2 cores")
    assert "- deliver / bare: 0.4 where at least 0.5 was asked. A client takes half of it.\n" in page
    assert "It does more" not in page
    assert "not measured: memory: StartFailed: no" in page
    assert "CPU per event: ours 200 µs, baseline 100 µs" in markdown([slow])
