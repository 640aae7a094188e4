"""`ringhook explain ID`: the whole life of one account, sign-in or event."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from deploy.command import account as accounts
from deploy.command.columns import second
from deploy.command.deliveries import cells
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.command.named import Named
from deploy.command.v1 import Unknown, ask
from schemas.errors import Misconfigured
from workers.runtime.logs import printable

ANY: Final = Named("Say which account, sign-in or event")
NONE: Final = "Nothing is known under {0}: it is no account's, no sign-in's, and no event's of which anything is kept (7 days)."
CUT: Final = "The search ended before all that is kept was looked at: there may be more."
Telling = Callable[[dict[str, Any]], Iterator[str]]


@click.command()
@click.argument("thing", metavar="ID", type=ANY)
@JSON
@DIRECTORY
def explain(thing: str, directory: Path, *, as_json: bool) -> None:
    """Tell the whole life of what ID names: a Ring account, a sign-in (its attempt), or an event (Ring's request_id).

    Needs a running `ringhook admin` or `up`, and the scope `read`.
    """
    for path, tell in DOORS.items():
        try:
            said = ask(directory, "GET", f"{path}/{quote(thing, safe='')}")
        except Unknown:
            continue
        click.echo(orjson.dumps(said).decode() if as_json else "\n".join(tell(said)))
        return
    raise Misconfigured(NONE.format(printable(thing)))


def told_attempt(said: dict[str, Any]) -> Iterator[str]:
    """Return a sign-in's steps as lines."""
    yield f"A sign-in, {said['state']}."
    yield from (f"  {second(step['at'])}  {printable(step['name'])}" for step in said["steps"])
    if said["finding"]:
        yield f"  {printable(said['finding'])}"


def told_event(said: dict[str, Any]) -> Iterator[str]:
    """Return an event's life as lines, the oldest first."""
    yield f"An event, {printable(said['event'])}."
    for part in said["life"]:
        yield printable(f"  {second(part['at'])}  {WORDS[part['what']](part['facts'])}  ({part['place']})")
    if said["cut"]:
        yield CUT


def _received(facts: Mapping[str, Any]) -> str:
    how = "found to be of its account, by the device" if facts["found"] else "received from Ring, and held"
    return f"{how}: {facts['type'] or 'no type'}"


def _recorded(facts: Mapping[str, Any]) -> str:
    if "unreadable" in facts:
        return f"recorded, and unreadable: {facts['unreadable']}"
    whose = f"linked to your user {facts['partneruserid']}" if facts["linked"] else "not linked"
    return f"recorded as {facts['type']} of account {facts['accountid']}, {whose}"


def _attempted(facts: Mapping[str, Any]) -> str:
    _, destination, verdict, outcome, number, *_ = cells(dict(facts))
    return f"{destination}: attempt {number}, {verdict} ({outcome or 'nothing was sent'})"


def _buried(facts: Mapping[str, Any]) -> str:
    status = f", last answer {facts['status']}" if facts["status"] else ""
    return f"put on the dead letters: {facts['reason'] or 'no reason given'}{status}"


WORDS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "received": _received,
    "recorded": _recorded,
    "attempted": _attempted,
    "buried": _buried,
}
DOORS: Final[dict[str, Telling]] = {
    "/v1/attempts": told_attempt,
    "/v1/accounts": accounts.told,
    "/v1/events": told_event,
}
