"""What deliver itself publishes: dead letters, and one wide record per attempt. Pure."""

from codecs import getincrementaldecoder
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from schemas.events import Event
from schemas.topics import DELIVERY_ATTEMPTED, dead, delivery
from workers.bus.contract import Held, Record
from workers.deliver.answer import Answer, Timing
from workers.deliver.parcel import Parcel
from workers.deliver.policy import Attempt, Bury, Tries
from workers.runtime.dead import letter

Headers = tuple[tuple[str, bytes], ...]
NEVER_SENT: Final = b"none"
Unsent = Literal["cancelled", "unwanted"]
CANCELLED: Final = "cancelled"  # nothing is sent for its account any more
UNWANTED: Final = "unwanted"  # the destination does not take it, or no more
_TEXT: Final = getincrementaldecoder("utf-8")  # a sign that the cut went through is left out, not replaced


def dead_letter(destination: str, held: Held, decision: Bury, tries: Tries | None, now: datetime) -> Record:
    """Return the record as it was, plus why, when, how often and whence, the last outcome and the history, as headers."""
    told = tries.history if tries else ()
    attempts = tries.made if tries else 0
    plain = letter(held, decision.reason, at=now, attempts=attempts, topic=dead(delivery(destination)))
    extra: Headers = (
        ("dead_status", _outcome(told[-1]).encode() if told else NEVER_SENT),
        ("dead_history", msgspec.json.encode([_line(attempt) for attempt in told])),
    )
    return replace(plain, headers=(*plain.headers, *extra))


def shortened(whole: Record) -> Record:
    """Return a dead letter that did not fit without its body: coordinates and hash lead to it."""
    digest = sha256(whole.value).hexdigest().encode()
    return replace(whole, value=b"", headers=(*whole.headers, ("dead_body", b"omitted"), ("dead_body_sha256", digest)))


def _outcome(attempt: Attempt) -> str:
    return str(attempt.status) if attempt.status is not None else str(attempt.failure)


def _line(attempt: Attempt) -> dict[str, object]:
    shared = {"events": attempt.events} if attempt.events > 1 else {}
    return {
        "at": attempt.at.isoformat(),
        "verdict": attempt.verdict.value,
        "status": attempt.status,
        "failure": attempt.failure,
        "took_ms": _ms(attempt.took),
        **shared,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def attempted(destination: str, held: Held, event: Event, tries: Tries, answer: Answer) -> Record:
    """Return the record of an event's latest HTTP attempt; it names the event and holds nothing of its data."""
    line = _line(tries.history[-1]) | {"timing": _split(answer.timing), "answer": _text(answer.said)}
    return _told(destination, held, event, tries.made, line)


def _split(timing: Timing | None) -> dict[str, float | None] | None:
    if timing is None:
        return None
    return {
        "dns_ms": _ms(timing.dns),
        "connect_ms": _ms(timing.connect),
        "tls_ms": _ms(timing.tls),
        "wait_ms": _ms(timing.wait),
    }


def _text(said: bytes | None) -> str | None:
    return None if said is None else _TEXT("replace").decode(said)


def unsent(destination: str, held: Held, event: Event, tries: Tries | None, now: datetime, *, why: Unsent) -> Record:
    """Return the record of an attempt that was not made, and why."""
    line: dict[str, object] = {"at": now.isoformat(), "verdict": why, "status": None, "failure": None, "took_ms": 0.0}
    line |= {"timing": None, "answer": None}
    return _told(destination, held, event, tries.made if tries else 0, line)


def _told(destination: str, held: Held, event: Event, number: int, line: dict[str, object]) -> Record:
    parcel = Parcel(held, event)
    value = {
        "destination": destination,
        "event": event.id,
        "type": event.type,
        "device": event.subject,
        "account": event.accountid,
        "index": held.index,
        "offset": parcel.offset,
        "replay": parcel.replay,
        "number": number,
        **line,
    }
    return Record(topic=DELIVERY_ATTEMPTED.name, key=held.key, value=msgspec.json.encode(value))
