"""How one delivery is dressed for the wire: its body in the form that a destination wants, and headers besides the signature."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

from schemas import cloudevents
from schemas.events import Event
from workers.deliver.shape import compiled

Form = Literal["structured", "binary", "payload", "batched"]
Dressed = tuple[Mapping[str, str], bytes]  # headers that say what the body is, and the body
Dress = Callable[[Event, str], Dressed]  # of an event and its `sequence`

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110, 5.6.2
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?")
_OURS: Final = ("content-", "webhook-", "ce-", "proxy-", "sec-")
_WIRES: Final = frozenset(
    ("host", "connection", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive", "accept-encoding")
)


def _structured(event: Event, sequence: str) -> Dressed:
    return {"Content-Type": cloudevents.CONTENT_TYPE}, cloudevents.structured(event, sequence)


def _payload(event: Event, _sequence: str) -> Dressed:
    return {"Content-Type": cloudevents.DATA_CONTENT_TYPE}, bytes(event.data.payload)


def _alone(event: Event, sequence: str) -> Dressed:
    return batched([cloudevents.structured(event, sequence)])


def batched(documents: Sequence[bytes]) -> Dressed:
    """Return several structured events as one body: the JSON Batch Format of CloudEvents."""
    return {"Content-Type": cloudevents.BATCH_CONTENT_TYPE}, b"[%b]" % b",".join(documents)


FORMS: Final[Mapping[Form, Dress]] = {
    "structured": _structured,  # one JSON document, a CloudEvent
    "binary": cloudevents.over_http,  # its attributes as ce- headers, its data as the body
    "payload": _payload,  # the JSON that Ring sent, byte for byte
    "batched": _alone,  # an array of such documents, as many as are there
}


def dressing(form: Form, shape: str | None) -> Dress:
    """Return what dresses events in a form, or by a shape; that raises Rejected (`unshaped`) for one that does not fit."""
    if shape is None:
        return FORMS[form]
    shaped = compiled(shape)
    return lambda event, sequence: ({"Content-Type": "application/json"}, shaped(cloudevents.structured(event, sequence)))


def misheaded(headers: Mapping[str, str], named: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the headers of a destination, and those that name a variable, each as `key: words`."""
    for key, given in (("headers", headers), ("headers_env", named)):
        for name in given:
            if not _NAME.fullmatch(name):
                yield f"{key}: a name is none of an HTTP header"
            elif name.lower() in _WIRES or name.lower().startswith(_OURS):
                yield f"{key}: {name} is not yours to set: it says how the request is sent, or is ringhook's own"
    if not all(map(usable, headers.values())):
        yield "headers: a value must be 1 to 4,096 printable ASCII characters, no space at its ends"
    if both := {name.lower() for name in headers} & {name.lower() for name in named}:
        yield f"headers, headers_env: {', '.join(sorted(both))} stands in both"


def usable(value: str) -> bool:
    """Say whether a text can be a header's value."""
    return bool(_VALUE.fullmatch(value))
