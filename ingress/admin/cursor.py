"""Where a reader stands in a topic, as text that says nothing to others: the next offset of each index. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from ingress.errors import Unprocessable
from schemas.errors import UNREADABLE, Rejected
from workers.bus.contract import Span

Positions = Mapping[int, int]  # the next offset by index
_OFFSETS: Final = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=0)]])
AFRESH: Final = "Leave `after` out to begin at the end, or say `from`."


def written(positions: Positions) -> str:
    """Return positions as a cursor."""
    offsets = msgspec.json.encode([positions[index] for index in sorted(positions)])
    return base64.urlsafe_b64encode(offsets).decode().rstrip("=")


def read(cursor: str, spans: Sequence[Span]) -> Positions:
    """Return the positions of a cursor. Rejected: it is none. Unprocessable: it is another topic's, or of one made anew."""
    offsets = _offsets(cursor)
    if len(offsets) != len(spans):
        raise Unprocessable(f"This cursor (`after`) belongs to another topic. {AFRESH}", reason="cursor")
    if any(offset > span.next for offset, span in zip(offsets, spans, strict=True)):
        raise Unprocessable(
            f"This cursor (`after`) lies behind the end: it is another installation's, or the topic was made anew. {AFRESH}",
            reason="cursor",
        )
    return {span.index: offset for offset, span in zip(offsets, spans, strict=True)}


def _offsets(cursor: str) -> Sequence[int]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return _OFFSETS.decode(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, *UNREADABLE) as error:
        raise Rejected(
            f"`after` is no cursor: give back what an earlier answer called `next`, whole. {AFRESH}", reason="cursor"
        ) from error
