"""A finding: what is seen, what it means, what to do, and how sure that is."""

from typing import Literal

import msgspec

Sure = Literal["certain", "likely", "possible"]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What is always true of a finding: its page in the runbooks is made of it."""

    code: str  # RH-…, the same for ever
    title: str
    means: str
    do: tuple[str, ...]  # in this order
    hinders: tuple[str, ...] = ()  # what is usually in the way


class Finding(Page, frozen=True, kw_only=True):
    """A page that applies, with what was seen just here."""

    seen: str
    sure: Sure = "certain"


def found(page: Page, seen: str, sure: Sure = "certain") -> Finding:
    """Return the finding that a page is, seen so."""
    return Finding(**msgspec.structs.asdict(page), seen=seen, sure=sure)
