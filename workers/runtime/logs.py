"""One line per fact: JSON, or colours on a terminal. What strangers sent can neither forge a line nor paint a screen."""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import Processor

from workers.runtime.metrics import LOG_FAILURES

# C0 and C1 controls, the characters that turn or hide text (bidirectional marks, zero width, line separators), and lone
# surrogates, as which Python carries a header's bytes that are no UTF-8: no stream takes them.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
_URL_PASSWORD: Final = re.compile(r"(://[^\s:/@]{0,200}:)[^\s@/]{1,500}@")
LONGEST: Final = 2_000  # characters of one field


def printable(text: str) -> str:
    r"""Return the text with every character that would not show itself written as `\uXXXX`."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def harmless(text: str) -> str:
    """Return a text fit for a log field: printable, without the password of a URL, and not endless."""
    kept = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
    return printable(_URL_PASSWORD.sub(r"\1…@", kept))


def _harmless_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name == "exception":
            event[name] = "\n".join(harmless(line) for line in str(value).splitlines())
        else:
            event[name] = _harmless(value)
    return event


def _harmless(value: object) -> object:
    """Return a value with every text in it harmless; what has no text of its own in it is left to how it shows itself."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping):
        return {harmless(str(name)): _harmless(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_harmless(inner) for inner in value]
    return value if isinstance(value, int | float | datetime | None) else harmless(repr(value))


def _dumps(event: Mapping[str, object], **_options: object) -> str:
    try:
        return orjson.dumps(event).decode()
    except TypeError:  # a number beyond 64 bits, or nesting without end
        plain = {name: value if isinstance(value, str) else harmless(repr(value)) for name, value in event.items()}
        return orjson.dumps(plain).decode()


class Patient:
    """A stream to which nobody fails to write: lines for which a disk has no room, or a pipe no reader, are lost and counted."""

    def __init__(self, stream: TextIO) -> None:
        """Write to this one."""
        self._stream = stream
        self.isatty = stream.isatty

    def write(self, text: str) -> int:
        """Write, or lose it."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Bring out what was written; what does not come out now may with a later line."""
        with self._losing():
            self._stream.flush()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            LOG_FAILURES.inc()


def configure(*, level: str = "INFO", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging alike; JSON unless the stream is a terminal."""
    out = Patient(stream or sys.stderr)
    json = not out.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = structlog.processors.JSONRenderer(serializer=_dumps) if json else structlog.dev.ConsoleRenderer(colors=out.isatty())
    render: list[Processor] = [structlog.processors.format_exc_info, _harmless_fields, last]  # Python's own text: no locals in it
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", out)),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_drop_meta, *render])
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _drop_meta(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(None, "", event)
