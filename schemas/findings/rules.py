"""Facts in, findings out: what applies, the most urgent first. Pure; the words stand in pages.py.

A rule speaks of how things stand now: what failed once and went well since is none. A healthy installation has no findings.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from schemas.findings import pages
from schemas.findings.facts import Facts, Link, Progress, Served, SignIn, at
from schemas.findings.finding import Finding, Page, Sure, found

SOON: Final = 60.0  # seconds in which what is under way may still go on by itself
QUIET: Final = 600.0  # seconds a complete link may go without an event before that is told
RECENT: Final = 3_600.0  # seconds for which a call that did not fit is told
BEHIND: Final = 900.0  # seconds a destination may be behind
_OWN: Final = frozenset({"code.wrong_secret", "code.form_unknown", "webhook.refused", "redirect.stale"})  # rules of their own
_CAUSES: Final[dict[str | None, Page]] = {
    "late": pages.CODE_EXPIRED,
    "client": pages.WRONG_CLIENT,
    "refused": pages.CODE_REFUSED,
    "unanswered": pages.CODE_LOST,
}


def findings(facts: Facts) -> Sequence[Finding]:
    """Return what is not as it should be, or is still missing, the first to be done first."""
    return [one for rule in RULES for one in rule(facts)]


def _newest(facts: Facts) -> Link | None:
    return facts.links[0] if facts.links else None


def _signed_in(facts: Facts) -> SignIn | None:
    return facts.sign_ins[0] if facts.sign_ins else None


def _proven(facts: Facts) -> bool:
    """Say whether Ring has come at all."""
    return bool(facts.links and any(link.account for link in facts.links)) or any(one.proven for one in facts.contacts)


def _wrong_client(facts: Facts) -> Iterator[Finding]:
    link = _newest(facts)
    if link and link.cause == "client":
        yield found(pages.WRONG_CLIENT, _told("At the exchange of the newest code", link.reason))


def _came_to_nothing(facts: Facts) -> Iterator[Finding]:
    """Tell of the newest code, if nothing became of it."""
    link = _newest(facts)
    page = _CAUSES.get(link.cause) if link and link.cause != "client" else None
    if link and page:
        sure: Sure = "possible" if link.cause == "refused" else "certain"
        yield found(page, _told(f"The newest code, of {_clock(_first(link))}, is {link.state}", link.reason), sure)


def _wrong_secret(facts: Facts) -> Iterator[Finding]:
    met = facts.met("code.wrong_secret")
    if met and facts.now - met.last_at < RECENT and not _since(facts, met.last_at):
        yield found(pages.WRONG_SECRET, f"A code came with another secret in its path, last at {_clock(met.last_at)}.", "likely")


def _odd_code(facts: Facts) -> Iterator[Finding]:
    met = facts.met("code.form_unknown")
    if met and facts.now - met.last_at < RECENT and not _since(facts, met.last_at):
        looks = ", ".join(f"{name} {value}" for name, value in sorted(met.detail.items()))
        yield found(pages.ODD_CODE, f"It came at {_clock(met.last_at)}: {looks}.", "possible")


def _signatures(facts: Facts) -> Iterator[Finding]:
    refused, good = facts.met("webhook.refused"), facts.met("webhook", proven=True)
    if not refused or facts.now - refused.last_at > RECENT:
        return
    seen = f"The last was refused at {_clock(refused.last_at)}"
    if why := pages.MISFITS.get(refused.detail.get("misfit", "")):
        yield found(pages.SIGNATURES, f"{seen}: {why}.")
    else:
        sure: Sure = "possible" if good else "likely"
        yield found(pages.SIGNATURES, f"{seen} ({refused.detail.get('reason', 'mismatch')}).", sure)


def _no_call(facts: Facts) -> Iterator[Finding]:
    if not facts.contacts and not facts.links:
        yield found(pages.NO_CALL, "None of the URLs was called yet.")


def _unproven(facts: Facts) -> Iterator[Finding]:
    kinds = {one.kind for one in facts.contacts} - {"probe"}
    if _proven(facts) or facts.links:
        return
    if kinds - _OWN:
        yield found(pages.UNPROVEN, f"Calls came of these kinds: {', '.join(sorted(kinds))}.", "possible")
    if kinds:
        yield found(pages.NO_CALL, "What came may have been strangers.", "possible")
    elif facts.contacts:
        yield found(pages.NO_CALL, "Somebody looked whether the URLs are there. Nothing was posted to them.")


def _no_match(facts: Facts) -> Iterator[Finding]:
    mine = _signed_in(facts)
    over = mine and mine.state in {"expired", "rejected"}
    if mine and not mine.matched and (over or (mine.state == "received" and _age(facts, mine) > SOON)):
        yield found(pages.NO_MATCH, _told(f"A user confirmed at {_clock(_first(mine))}", mine.reason))


def _stale(facts: Facts) -> Iterator[Finding]:
    met = facts.met("redirect.stale")
    if met and facts.now - met.last_at < RECENT and not _since(facts, met.last_at):
        yield found(pages.STALE, f"The last came at {_clock(met.last_at)}.", "possible")


def _no_redirect(facts: Facts) -> Iterator[Finding]:
    if _unclaimed(facts) and not facts.met("redirect") and not facts.sign_ins:
        yield found(pages.NO_REDIRECT, f"Its code came at {_clock(_first(facts.links[0]))} and was good.")


def _no_sign_in(facts: Facts) -> Iterator[Finding]:
    met = facts.met("redirect")
    if _unclaimed(facts) and met and not facts.sign_ins:
        yield found(pages.NO_SIGN_IN, f"The browser came at {_clock(met.last_at)}.")


def _unclaimed(facts: Facts) -> bool:
    """Say whether the first link of all waits for its user."""
    link = _newest(facts)
    return bool(link and link.state == "unclaimed" and not facts.completed and _age(facts, link) > SOON / 2)


def _dormant(facts: Facts) -> Iterator[Finding]:
    for link in facts.links:
        since = at(link.marks, "awaiting")
        if link.state == "awaiting" and since and facts.now - since > SOON / 2:
            yield found(pages.DORMANT, _told(f"Ring took the sign-in at {_clock(since)}", link.reason))
            return


def _held_up(facts: Facts) -> Iterator[Finding]:
    for link in facts.links:
        if link.state in {"exchanged", "claimed"} and link.reason and facts.now - max(when for _, when in link.marks) > SOON / 2:
            yield found(pages.HELD_UP, _told(f"A link is {link.state}", link.reason))
            return


def _no_webhook(facts: Facts) -> Iterator[Finding]:
    done = [when for link in facts.links if link.state == "completed" and (when := at(link.marks, "completed"))]
    if facts.completed and not facts.met("webhook", proven=True) and (not done or facts.now - min(done) > SOON):
        sure: Sure = "certain" if not done or facts.now - min(done) > QUIET else "possible"
        yield found(pages.NO_WEBHOOK, "No webhook with a good signature came yet.", sure)


def _tokens_lost(facts: Facts) -> Iterator[Finding]:
    if facts.reconnect:
        many = f"{facts.reconnect} accounts" if facts.reconnect > 1 else "One account"
        yield found(pages.TOKENS_LOST, f"{many} must be connected again.")


def _destinations(facts: Facts) -> Iterator[Finding]:
    for one in facts.destinations:
        if one.state == "gone":
            yield found(pages.GONE, f"{one.name} answered 410.")
        elif one.state in {"failing", "throttled"}:
            yield found(pages.UNWANTED, f"{one.name} is {one.state}{f' ({one.failure})' if one.failure else ''}.")
        elif _late(facts, one):
            yield found(pages.BEHIND, f"{one.name} is {one.behind} events behind, since {_clock(one.behind_since or 0.0)}.")


def _waiting(facts: Facts) -> Iterator[Finding]:
    if facts.waiting_since and facts.now - facts.waiting_since > SOON:
        yield found(pages.WAITING, f"The oldest has waited since {_clock(facts.waiting_since)}.")


Rule = Callable[[Facts], Iterator[Finding]]
RULES: Final[tuple[Rule, ...]] = (
    _wrong_client,
    _wrong_secret,
    _odd_code,
    _came_to_nothing,
    _signatures,
    _no_call,
    _unproven,
    _no_match,
    _stale,
    _dormant,
    _held_up,
    _no_redirect,
    _no_sign_in,
    _no_webhook,
    _tokens_lost,
    _destinations,
    _waiting,
)


def _late(facts: Facts, one: Served) -> bool:
    return one.state == "well" and bool(one.behind) and one.behind_since is not None and facts.now - one.behind_since > BEHIND


def _since(facts: Facts, then: float) -> bool:
    """Say whether a link went well after that time."""
    return any(when > then for link in facts.links for what, when in link.marks if what in {"unclaimed", "completed"})


def _first(one: Progress) -> float:
    return min((when for _, when in one.marks), default=0.0)


def _age(facts: Facts, one: Progress) -> float:
    return facts.now - _first(one)


def _told(seen: str, reason: str | None) -> str:
    return f"{seen}: {reason}." if reason else f"{seen}."


def _clock(when: float) -> str:
    """Return a time as people read it: "13:39:57Z on 2026-02-13"."""
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%SZ on %Y-%m-%d")
