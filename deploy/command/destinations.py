"""`ringhook destinations`: how your services fare, whether they can be reached, and how to stop and go on sending to one."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click
import orjson

from deploy import roles
from deploy.command import reaching
from deploy.command.columns import second
from deploy.command.directory import DIRECTORY
from deploy.command.ending import FAILURE
from deploy.command.facts import JSON
from deploy.command.named import DESTINATION
from deploy.command.v1 import ask
from deploy.settings.lists import Service
from schemas.errors import Misconfigured
from workers.deliver.ping import Pinged, ping

T = TypeVar("T")
NONE: Final = "ringhook.toml names no [[destination]]."
ABSENT: Final = "no copy of `ringhook deliver` (or `up`) runs with it"
PAUSED: Final = "{name} is paused: nothing is sent to it, and what comes waits, until `ringhook destinations resume {name}`."
RESUMED: Final = "{name} is sent to again."
GONE: Final = "{name} is open again. It is not in ringhook.toml: nothing is sent to it until it is (`ringhook reload`)."
STANDS: Final = "The wish is held. Just now:"
LATE: Final = "{missing} of {copies} copies have not heard of it yet; each does as soon as it reaches the store."
MET: Final = {  # in which state it then is, and the words for it
    "pause": {"paused": PAUSED},
    "resume": {"well": RESUMED, "not configured": GONE},
}
CLOSED: Final = {"paused": "paused by {by}", "gone": "closed by {by}"}


EXAMPLES: Final = """\b
Examples:
  ringhook destinations check
  ringhook destinations status crm
  ringhook destinations pause crm"""


@click.group(epilog=EXAMPLES)
def destinations() -> None:
    """See how destinations fare; test whether they take events; pause and resume one."""


@destinations.command()
@click.argument("name", required=False, type=DESTINATION)
@JSON
@DIRECTORY
def status(name: str | None, directory: Path, *, as_json: bool) -> None:
    """Tell of each destination, or of one, whether it takes events, and how far it is behind."""
    seen = ask(directory, "GET", "/v1/destinations")["destinations"]
    if name is not None:
        seen = [_called(name, {one["name"]: one for one in seen})]
    if as_json:
        click.echo(orjson.dumps({"destinations": seen}).decode())
    else:
        click.echo("\n".join(line(one) for one in seen) or NONE)


@destinations.command()
@click.argument("name", required=False, type=DESTINATION)
@JSON
@DIRECTORY
def check(name: str | None, directory: Path, *, as_json: bool) -> None:
    """Send each destination, or one, a signed test event from this machine, and tell what comes of it; exit code 1 for trouble.

    Its type is com.ring.ringhook_ping. Needs the configuration of `deliver` (or `up`), and nothing that runs.
    """
    pinged = asyncio.run(_pinged(chosen(directory, name)))
    if as_json:
        click.echo(orjson.dumps({"destinations": [reaching.facts(one) for one in pinged]}).decode())
    else:
        click.echo("\n".join(line for one in pinged for line in reaching.lines(one)) or NONE)
    sys.exit(0 if all(map(reaching.well, pinged)) else FAILURE)


def chosen(directory: Path, name: str | None) -> Sequence[Service]:
    """Return the destination of that name, or all, as the files of a directory have them; raises Misconfigured."""
    services = roles.configured("destinations", directory).services or ()
    if name is None:
        return services
    return [_called(name, {service.destination.name: service for service in services})]


async def _pinged(services: Sequence[Service]) -> list[Pinged]:
    return await asyncio.gather(*(ping(one.destination, one.secrets, one.headers, one.tls) for one in services))


@destinations.command()
@click.argument("name", type=DESTINATION)
@JSON
@DIRECTORY
def pause(name: str, directory: Path, *, as_json: bool) -> None:
    """Send nothing to a destination; its events wait, over restarts too."""
    _wish(directory, name, "pause", as_json=as_json)


@destinations.command()
@click.argument("name", type=DESTINATION)
@JSON
@DIRECTORY
def resume(name: str, directory: Path, *, as_json: bool) -> None:
    """Send to a destination again, at once, that was paused, answered 410, or asked for rest (Retry-After).

    What failed before, and what waits for it in the store, is tried at once, too, paused or not: say it once you have mended a
    service. An event that fails then once more is due again when it was to be.
    """
    _wish(directory, name, "resume", as_json=as_json)


def _wish(directory: Path, name: str, wish: str, *, as_json: bool) -> None:
    said = ask(directory, "POST", f"/v1/destinations/{quote(name, safe='')}/{wish}")
    click.echo(orjson.dumps(said).decode() if as_json else "\n".join(outcome(wish, said)))


def outcome(wish: str, seen: dict[str, Any]) -> Iterator[str]:
    """Return what has come of a wish, in lines: the words for it, or how the destination stands where it is otherwise."""
    if words := MET[wish].get(seen["state"]):
        yield words.format(name=seen["name"])
        if not seen["copies"] and words is not GONE:
            yield f"Just now {ABSENT}."
    else:
        yield STANDS
        yield line(seen)
    if missing := seen["copies"] - seen["obey"]:
        yield LATE.format(missing=missing, copies=seen["copies"])


def demand_known(directory: Path, name: str) -> None:
    """Raise Misconfigured where no destination is called so."""
    _called(name, {one["name"]: one for one in ask(directory, "GET", "/v1/destinations")["destinations"]})


def _called(name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise Misconfigured(f"No destination is called {name!r}; there are: {', '.join(known) or 'none'}")
    return known[name]


def line(seen: dict[str, Any]) -> str:
    """Return one destination in a line of words."""
    return f"{seen['name']}  {seen['state']}  {', '.join(_facts(seen))}"


def _facts(seen: dict[str, Any]) -> Iterator[str]:
    if words := CLOSED.get(seen["state"]):
        yield f"{words.format(by=seen['closed_by'])} since {second(seen['closed_at'])}"
    if not seen["copies"]:
        yield ABSENT
        return
    if seen["dead"]:
        yield f"{seen['dead']} put on the dead letters since it started, the last {second(seen['dead_at'])}"
    if seen["quiet_until_at"]:
        yield f"asked us to wait until {second(seen['quiet_until_at'])}"
    if seen["behind"] is not None:
        since = f", the oldest from {second(seen['behind_since_at'])}" if seen["behind_since_at"] else ""
        yield f"{seen['behind']} behind{since}"
    if seen["in_flight"]:
        yield f"{seen['in_flight']} in flight"
    if seen["waiting"]:
        due = f", the next is due {second(seen['next_at'])}" if seen.get("next_at") else ""
        yield f"{seen['waiting']} wait in the store{due}"
    if seen["held"]:
        yield f"{seen['held']} to be sent again"
    yield f"last accepted {second(seen['accepted_at'])}" if seen["accepted_at"] else "none accepted since it started"
    if seen["failed_at"]:
        yield f"last failure {second(seen['failed_at'])}: {seen['failure']}"
