"""How far Ring has come, in one line for a terminal: the same facts and pages, without anything that was only seen here.

It is told to whoever reads the terminal of `up`, or asks on the loopback: no account, no destination and no answer is in it.
"""

from collections.abc import Sequence
from typing import Final

from schemas.findings import pages
from schemas.findings.facts import Facts
from schemas.findings.finding import Finding
from schemas.findings.rules import findings
from schemas.findings.steps import Step, checklist

CONNECTED: Final = "Ring's signed webhooks arrive."


def story(facts: Facts) -> str:
    """Return where the connection stands, what comes next, and which findings the doctor explains."""
    found, steps = findings(facts), checklist(facts)
    unheard = any(one.code == pages.NO_CALL.code for one in found)  # then what stands first may be why
    told = _first(found[0]) if unheard else _stands(steps)
    others = list(dict.fromkeys(one.code for one in found[unheard:]))
    return f"{told} `ringhook doctor` explains {', '.join(others)}." if others else told


def _first(one: Finding) -> str:
    return f"{one.title}: {one.means[0].lower()}{one.means[1:]} Next: {one.do[0][0].lower()}{one.do[0][1:]}"


def _stands(steps: Sequence[Step]) -> str:
    done = [step for step in steps if step.at is not None]
    following = next((step for step in steps if step.next), None)
    if steps[-1].at is not None:
        return CONNECTED
    begun = f"So far: {done[-1].words}. " if done else ""
    return f"{begun}Next: {following.words}." if following else begun.strip()
