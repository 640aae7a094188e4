"""Events as CloudEvents 1.0: binary mode on Kafka (`ce_` headers, data as value), structured JSON over HTTP.

Source: github.com/cloudevents/spec, kafka-protocol-binding.md and formats/json-format.md.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from schemas.errors import UNREADABLE, Rejected
from schemas.events import Event, EventData

SPECVERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/cloudevents+json"  # of the structured body
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
DATA_CONTENT_TYPE: Final = "application/json"
_TEXTS: Final = ("id", "type", "source", "subject", "accountid", "partneruserid")
_HEADERS: Final = tuple((f"ce_{name}", name) for name in _TEXTS)
_PLAIN: Final = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
_FLAGS: Final = {b"true": True, b"false": False}
_DATA: Final = msgspec.json.Decoder(EventData)
_ENCODER: Final = msgspec.json.Encoder()

Headers = tuple[tuple[str, bytes], ...]


class _Structured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of the JSON format, in the order a reader wants them; absent optional ones are left out."""

    specversion: str
    id: str
    type: str
    source: str
    subject: str | None = None
    time: datetime
    accountid: str
    partneruserid: str | None = None
    linked: bool
    recovered: bool
    sequence: str
    datacontenttype: str | None = None
    data: EventData | None = None


def binary(event: Event) -> tuple[Headers, bytes]:
    """Return the headers and the value of the event's Kafka record; its key is the account id."""
    return (("content-type", DATA_CONTENT_TYPE.encode()), *_attributes(event)), _ENCODER.encode(event.data)


def read(headers: Iterable[tuple[str, bytes]], value: bytes) -> Event:
    """Return the event of a record that `binary` made, or raise Rejected (`not_an_event`). Unknown attributes are ignored."""
    said = dict(headers)
    try:
        texts: dict[str, Any] = {name: said[header].decode() for header, name in _HEADERS if header in said}
        return Event(
            **texts,
            time=datetime.fromisoformat(said["ce_time"].decode()),
            linked=_FLAGS[said["ce_linked"]],
            recovered=_FLAGS[said.get("ce_recovered", b"false")],
            data=_DATA.decode(value),
        )
    except (KeyError, TypeError, *UNREADABLE) as error:
        raise Rejected("a record that is not one of our events", reason="not_an_event") from error


def structured(event: Event, sequence: str, *, bare: bool = False) -> bytes:
    """Return the JSON body of one delivery; `sequence` orders the events of a key (see `sequence`). `bare`: without the data."""
    return _ENCODER.encode(
        _Structured(
            specversion=SPECVERSION,
            id=event.id,
            type=event.type,
            source=event.source,
            subject=event.subject,
            time=event.time,
            accountid=event.accountid,
            partneruserid=event.partneruserid,
            linked=event.linked,
            recovered=event.recovered,
            sequence=sequence,
            datacontenttype=None if bare else DATA_CONTENT_TYPE,
            data=None if bare else event.data,
        )
    )


def over_http(event: Event, sequence: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of one delivery in binary mode.

    Source: github.com/cloudevents/spec, http-protocol-binding.md, 3.1.3: what is no printable ASCII is percent-encoded.
    """
    attributes = {name.replace("ce_", "ce-"): quote(value, safe=_PLAIN) for name, value in _attributes(event)}
    return {"Content-Type": DATA_CONTENT_TYPE, **attributes, "ce-sequence": sequence}, _ENCODER.encode(event.data)


def sequence(offset: int) -> str:
    """Return the CloudEvents `sequence` of a record: its offset, zero-padded so that text order is number order."""
    return f"{offset:020d}"


def _attributes(event: Event) -> Iterable[tuple[str, bytes]]:
    yield "ce_specversion", SPECVERSION.encode()
    for name in _TEXTS:
        if (text := getattr(event, name)) is not None:
            yield f"ce_{name}", text.encode()
    yield "ce_time", msgspec.to_builtins(event.time).encode()
    yield "ce_linked", str(event.linked).lower().encode()
    yield "ce_recovered", str(event.recovered).lower().encode()
