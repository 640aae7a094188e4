"""The nine steps from Ring's first call to its first webhook, as a checklist with times (ring-contract.md §2). Pure."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from schemas.findings.facts import Facts, Link, SignIn, at

Name = Literal["code", "tokens", "account", "browser", "sign-in", "match", "told", "completed", "webhook"]
WORDS: Final[dict[Name, str]] = {
    "code": "Ring posts an authorization code to the Token Exchange URL",
    "tokens": "ringhook exchanges the code for tokens",
    "account": "Ring says whose they are (users/me)",
    "browser": "Ring sends the user's browser to the Account Link URL",
    "sign-in": "the user signs in with you and confirms",
    "match": "the nonce names the account",
    "told": "Ring is told of the sign-in (POST)",
    "completed": "the link is completed (PATCH)",
    "webhook": "Ring's first signed webhook arrives",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step, and when it happened; None: not yet. The first of these is `next`."""

    name: Name
    words: str
    at: float | None
    next: bool = False


def checklist(facts: Facts) -> Sequence[Step]:
    """Return the steps of the link that has come furthest, the newest of equals."""
    times, told = _times(facts), list[Step]()
    missing = next((name for name in WORDS if times[name] is None), None)
    for name, words in WORDS.items():
        told.append(Step(name=name, words=words, at=times[name], next=name == missing))
    return told


def _times(facts: Facts) -> dict[Name, float | None]:
    link, mine = _furthest(facts), _signed_in(facts)
    browser, webhook, code = (facts.met(kind) for kind in ("redirect", "webhook", "code"))
    signed_in = at(mine.marks, "signed in") if mine else None
    marks = link.marks if link else ()
    return {
        "code": at(marks, "received") or (code.first_at if code else None),
        "tokens": at(marks, "exchanged"),
        "account": at(marks, "unclaimed") or at(marks, "claimed"),
        "browser": (browser.first_at if browser else None) or signed_in,
        "sign-in": signed_in,
        "match": at(marks, "claimed"),
        "told": at(marks, "awaiting") or at(marks, "completed"),
        "completed": at(marks, "completed"),
        "webhook": webhook.first_at if webhook and webhook.proven else None,
    }


def _furthest(facts: Facts) -> Link | None:
    return max(facts.links, key=lambda link: len({what for what, _ in link.marks}), default=None)


def _signed_in(facts: Facts) -> SignIn | None:
    return max(facts.sign_ins, key=lambda one: one.state == "completed", default=None)
