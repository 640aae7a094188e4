"""`ringhook doctor`: how far the connection to Ring has come, what is missing or wrong, and what to do about it."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import click
import msgspec
import orjson

from deploy import looking, roles
from deploy.command.directory import DIRECTORY
from deploy.command.ending import FAILURE
from deploy.command.facts import JSON
from deploy.command.v1 import Unanswered, Unknown, ask
from deploy.settings import PARTS
from deploy.settings.problems import Wrong
from schemas.errors import Misconfigured
from schemas.findings.finding import Finding
from schemas.findings.urls import OK, Looked, Probed, of_probe, of_urls
from workers.runtime.logs import printable

WIDE: Final = 110
READ_BACK_S: Final = 5.0  # until a record that was acknowledged can be read
LOOK_S: Final = 0.2
APART: Final = timedelta(minutes=10)  # by which this host's clock may be ahead of the bus's
WELL: Final = "Nothing is missing, and nothing is wrong."
AWAY: Final = "What has happened so far is known to a running ringhook alone: {why}."


class Health(msgspec.Struct, kw_only=True):
    """All that was found."""

    role: str
    problems: Sequence[str] = ()  # of the configuration
    urls: Sequence[Looked] = ()
    probe: Probed | None = None  # a signed webhook through the public URL, sent where all of them answer
    away: str | None = None  # why the running ringhook was not asked
    steps: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] = ()

    @property
    def well(self) -> bool:
        """Say whether there is nothing to do."""
        return not (self.problems or self.away or self.findings)


@click.command()
@click.argument("role", type=click.Choice(list(PARTS)), default="up")
@JSON
@DIRECTORY
def doctor(role: str, directory: Path, *, as_json: bool) -> None:
    """Say what is missing or wrong between Ring and you, and what to do; exit code 1 for anything.

    Looks at the configuration as ROLE needs it (else `up`) and at the public URLs from this machine, sends a signed webhook of
    its own through them (of no account: nothing comes of it), and asks the running `ringhook admin` (or `up`) what has happened.
    Where none runs it says the rest. Each finding's code has a page in deploy/runbooks.
    """
    health = examined(role, directory)
    click.echo(orjson.dumps(msgspec.to_builtins(health) | {"well": health.well}).decode() if as_json else "\n".join(told(health)))
    sys.exit(0 if health.well else FAILURE)


def examined(role: str, directory: Path) -> Health:
    """Look at everything, one after the other; what cannot be looked at is told, too."""
    health = Health(role=role)
    try:
        chosen = roles.configured(role, directory)
    except Wrong as error:
        health.problems = error.lines
        return health
    except Misconfigured as error:
        health.problems = [str(error)]
        return health
    mine = list[Finding]()
    if chosen.edge is not None:
        url, keys = chosen.edge.settings.public_url, chosen.edge.settings.hmac_keys
        health.urls = asyncio.run(looking.look(url))
        if all(look.ours for look in health.urls):
            sent = asyncio.run(looking.probe(url, next(iter(keys.values())).reveal().encode()))
            health.probe = _read_back(directory, sent) if sent.status == OK else sent
        mine = [*of_urls(health.urls), *(of_probe(health.probe) if health.probe else ())]
    try:
        said = ask(directory, "GET", "/v1/findings")
    except Unanswered as error:
        health.away, said = str(error), {"steps": [], "findings": []}
    health.steps, health.findings = said["steps"], [*map(msgspec.to_builtins, mine), *said["findings"]]
    return health


def _read_back(directory: Path, probed: Probed) -> Probed:
    """Return the probe with whether it came back out of the bus; where nobody can say, as it is."""
    until, since = time.monotonic() + READ_BACK_S, (datetime.now(UTC) - APART).isoformat()
    while True:
        try:
            ask(directory, "GET", f"/v1/events/{probed.id}", since=since)
        except Unknown:
            if time.monotonic() > until:
                return msgspec.structs.replace(probed, held=False)
            time.sleep(LOOK_S)
        except Unanswered:
            return probed
        else:
            return msgspec.structs.replace(probed, held=True)


def told(health: Health) -> Iterator[str]:
    """Return what was found as lines."""
    yield from _configuration(health)
    yield from map(_url, health.urls)
    if health.probe:
        yield _probe(health.probe)
    if health.away:
        yield AWAY.format(why=printable(health.away).rstrip("."))
    if health.steps:
        yield ""
        yield from map(_step, range(1, len(health.steps) + 1), health.steps)
    for finding in health.findings:
        yield ""
        yield from _finding(finding)
    if health.well:
        yield ""
        yield WELL


def _configuration(health: Health) -> Iterator[str]:
    if not health.problems:
        yield f"The configuration of {health.role} is complete."
        return
    yield f"The configuration of {health.role} is not complete:"
    yield from (f"  {printable(problem)}" for problem in health.problems)


def _url(look: Looked) -> str:
    fate = f"not reached: {look.obstacle}" if look.obstacle else f"answered {look.status} in {(look.took or 0) * 1000:.0f} ms"
    return f"{look.name}: {printable(look.url)}  {printable(fate)}"


def _probe(probed: Probed) -> str:
    if probed.obstacle:
        return f"A signed webhook: not answered: {printable(probed.obstacle)}"
    back = {True: ", and read back from the bus", False: ", and not found on the bus", None: ""}[probed.held]
    return f"A signed webhook: answered {probed.status} in {(probed.took or 0) * 1000:.0f} ms{back}"


def _step(number: int, step: Mapping[str, Any]) -> str:
    mark = "x" if step["at"] else ">" if step["next"] else " "
    when = f"{step['at'][:10]} {step['at'][11:19]}Z" if step["at"] else "next" if step["next"] else ""
    return f"  [{mark}] {number}. {step['words']}{f'  ({when})' if when else ''}"


def _finding(finding: Mapping[str, Any]) -> Iterator[str]:
    sure = "" if finding["sure"] == "certain" else f" ({finding['sure']})"
    yield f"{finding['code']}  {finding['title']}{sure}"
    yield from _wrapped(f"Seen: {printable(finding['seen'])}", "  ")
    yield from _wrapped(finding["means"], "  ")
    for act in finding["do"]:
        yield from _wrapped(act, "  - ")
    if finding["hinders"]:
        yield "  Usually in the way:"
    for one in finding["hinders"]:
        yield from _wrapped(one, "  * ")


def _wrapped(text: str, before: str) -> Sequence[str]:
    return wrap(text, WIDE, initial_indent=before, subsequent_indent=" " * len(before), break_on_hyphens=False)
