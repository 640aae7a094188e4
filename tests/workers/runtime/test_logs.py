import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest
import structlog

from workers.runtime import logs
from workers.runtime.metrics import LOG_FAILURES


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(*, json: bool) -> tuple[io.StringIO, structlog.stdlib.BoundLogger]:
    out = io.StringIO()
    logs.configure(json=json, stream=out)
    return out, structlog.get_logger()


class Pipe(io.StringIO):
    """Takes nothing while its reader is away."""

    away = True

    def flush(self) -> None:
        if self.away:
            raise BrokenPipeError


def test_a_line_that_cannot_be_written_is_counted_and_harms_nobody() -> None:
    before, pipe = LOG_FAILURES._value.get(), Pipe()
    logs.configure(json=True, stream=pipe)
    structlog.get_logger().info("code.received")
    logging.getLogger("library").error("broken")
    assert LOG_FAILURES._value.get() - before == 2
    pipe.away = False
    structlog.get_logger().info("link.moved")
    assert [orjson.loads(line)["event"] for line in pipe.getvalue().splitlines()][-1] == "link.moved"


def test_a_json_line_is_one_object_with_its_fields() -> None:
    out, log = logged(json=True)
    log.info("request.refused", route="webhook", status=401)
    line = orjson.loads(out.getvalue())
    assert (line["event"], line["route"], line["status"], line["level"]) == ("request.refused", "webhook", 401, "info")


@pytest.mark.parametrize("json", [True, False])
def test_what_a_stranger_sent_can_neither_forge_a_line_nor_paint_a_screen(json: bool) -> None:  # noqa: FBT001
    out, log = logged(json=json)
    log.warning("request.refused", agent="a\nfake\x1b[31m\u202eevil", long="x" * 100_000)
    assert len(out.getvalue().splitlines()) == 1
    assert len(out.getvalue()) < 5_000
    assert not {"\x1b[31m", "\u202e"} & {out.getvalue()[i : i + len(bad)] for bad in ("\x1b[31m", "\u202e") for i in range(3000)}


@pytest.mark.parametrize("json", [True, False])
def test_no_value_whatever_keeps_a_line_from_being_written(json: bool) -> None:  # noqa: FBT001
    class Odd:
        def __repr__(self) -> str:
            return "odd \udcfe\x1b[31m"

    out, log = logged(json=json)
    broken = b"curl/\xff".decode(errors="surrogateescape")
    log.info("request.refused", agent=broken, many=[broken, {broken: (broken,)}], length=2**70, what=Odd())
    log.error(broken, when=datetime.now(UTC), exc_info=ValueError(broken))
    written = out.getvalue().encode()  # no stream takes a lone surrogate
    assert b"curl/\\" in written
    assert b"\x1b[31m" not in written.replace(b"\\u001b", b"").replace(b"\\x1b", b"")
    if json:
        first, last = map(orjson.loads, out.getvalue().splitlines())
        assert (first["agent"], first["length"], first["what"]) == ("curl/\\udcff", str(2**70), "odd \\udcfe\\u001b[31m")
        assert last["event"] == "curl/\\udcff"


def test_passwords_of_urls_and_local_variables_of_tracebacks_are_not_shown() -> None:
    out, log = logged(json=True)

    def fail() -> None:
        canary = "canary-value"
        raise ValueError(canary[:0] or "failed at postgresql://user:hunter2@127.0.0.1/x")

    try:
        fail()
    except ValueError:
        log.exception("store.failed", url="postgresql://user:hunter2@127.0.0.1/x")
    assert "hunter2" not in out.getvalue()
    assert "canary-value" not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_an_exception_in_json_reads_as_python_writes_it_and_can_paint_nothing() -> None:
    out, log = logged(json=True)

    def fail() -> None:
        raise ExceptionGroup("both", [RuntimeError("x" * 5_000)]) from ValueError("the \x1b[31mcause")

    try:
        fail()
    except ExceptionGroup:
        log.exception("worker.crashed")
    told = orjson.loads(out.getvalue())["exception"].splitlines()
    assert told[0] == "ValueError: the \\u001b[31mcause"
    assert any(line.endswith(", in fail") for line in told)
    assert any("ExceptionGroup: both (1 sub-exception)" in line for line in told)
    assert max(len(line) for line in told) < 2_100
    assert len(out.getvalue().splitlines()) == 1


def test_other_libraries_log_in_the_same_form() -> None:
    out, _ = logged(json=True)
    logging.getLogger("aiohttp").warning("odd %s", "thing\nx")
    assert orjson.loads(out.getvalue())["event"] == "odd thing\\u000ax"
