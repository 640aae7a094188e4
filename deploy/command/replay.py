"""`ringhook replay`: what was recorded in a span of time goes to one destination again; and what becomes of such replays."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from deploy.command import wanting
from deploy.command.columns import Columns, second, terminal
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.command.named import REPLAY
from deploy.command.v1 import ask, tell
from deploy.command.when import begun, named

LOOK_S: Final = 1.0
EVER: Final = "1970"  # the begin of what is asked for from the first on
NAMES: Final = ("ASKED", "ID", "DESTINATION", "STATE", "ENDED", "COPIED", "LOOKED AT", "BY")
BEGUN: Final = (
    "Replay {id} to {destination} is held: it goes on by itself, over restarts, until it is done. `ringhook replay show {id}` "
    "tells how far it is, `ringhook replay cancel {id}` ends it."
)
STATES: Final = {
    "preparing": "is about to be sent",
    "copying": "is being put aside for it: {copied} of about {looked} looked at ({total} in all) are wanted",
    "sending": "is being sent: {ended}",
    "done": "is done: {ended}",
    "cancelled": "was cancelled: nothing more of it is sent ({ended})",
}
STANDS: Final = {
    "paused": "Nothing is sent to {destination}: it is paused, until `ringhook destinations resume {destination}`.",
    "gone": "Nothing is sent to {destination}: it answered 410, until `ringhook destinations resume {destination}`.",
    "failing": "{destination} does not take anything just now: it is probed, and this goes on by itself once it does.",
    "throttled": "{destination} has asked for rest: this goes on by itself.",
    "not running": "No `ringhook deliver` (or `up`) runs that sends to {destination}.",
    "not configured": "{destination} is not in ringhook.toml any more: nothing is sent to it.",
}
FATES: Final = {
    "accepted": "{number} accepted",
    "buried": "{number} put aside as dead letters",
    "unsent": "{number} not sent",
}
WHY: Final = " (`ringhook deliveries show ID` says why)"  # of a replay that is cancelled that is why, and no attempts tell of it
LEFT: Final = {"sending": "{left} to go", "done": "{left} not counted, as a process was ended meanwhile"}
LIVE: Final = frozenset({"preparing", "copying", "sending"})
UNTOLD: Final = "No copy of `ringhook deliver` tells what the destination takes: its own filter may want fewer of them."
EXAMPLES: Final = """\b
Examples:
  ringhook replay --destination crm --from 6h --to 2h --dry-run
  ringhook replay --destination crm --from first --filter '{"suffix":{"type":"_detected"}}'
  ringhook replay list"""


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@click.option("--destination", help="To which destination.")
@click.option(
    "--from", "begin", help="Recorded from then on: 2h (two hours ago), a time with its offset, or first (all that is kept)."
)
@click.option("--to", "end", help="Recorded before then, in the same form; without it, now.")
@click.option("--filter", "filter_", help="Only what it fits, as JSON in the dialect of [[destination]].")
@click.option("--id", "ids", multiple=True, help="Only events with these ids; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Send nothing: say how many events these are.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is done.")
@JSON
@DIRECTORY
@click.pass_context
def replay(context: click.Context, /, directory: Path, **options: Any) -> None:  # noqa: ANN401 - click's
    """Send to one destination again what was recorded in a span of time, in order, beside what is live.

    Each delivery carries `webhook-replay`, and the `webhook-id` that it had. It takes at most a quarter of the destination's
    concurrency and rate, and no turn that a live event waits for. Needs running `ringhook deliver` and `admin` (or `up`), and the
    scope `operate`. Ctrl-C ends the waiting, not the replay.
    """
    if context.invoked_subcommand is None:
        _begin(directory, **options)


@replay.command("list")
@JSON
@DIRECTORY
def list_(directory: Path, *, as_json: bool) -> None:
    """Print the latest replays, the newest first."""
    found = ask(directory, "GET", "/v1/replays")["replays"]
    columns = Columns(NAMES, aligned=terminal())
    for line in (orjson.dumps(one).decode() for one in found) if as_json else columns.lines(map(cells, found)):
        click.echo(line)
    if not found and not as_json:
        click.echo("There was no replay in the last 30 days.")


@replay.command()
@click.argument("name", metavar="ID", type=REPLAY)
@JSON
@DIRECTORY
def show(name: str, directory: Path, *, as_json: bool) -> None:
    """Tell how far a replay is."""
    _say(ask(directory, "GET", _path(name)), as_json=as_json)


@replay.command()
@click.argument("name", metavar="ID", type=REPLAY)
@JSON
@DIRECTORY
def cancel(name: str, directory: Path, *, as_json: bool) -> None:
    """Send nothing more of a replay."""
    _say(ask(directory, "POST", f"{_path(name)}/cancel"), as_json=as_json)


def _begin(directory: Path, *, dry_run: bool, no_wait: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's
    said = tell(directory, "/v1/replays", asked(**options, dry_run=dry_run))
    if dry_run:
        click.echo(orjson.dumps(said).decode() if as_json else counted(said))
        return
    if not as_json:
        click.echo(BEGUN.format(**said))
    if not no_wait:
        said = _awaited(directory, said, quiet=as_json)
    if as_json or not no_wait:
        _say(said, as_json=as_json)


def asked(
    *, destination: str | None, begin: str | None, end: str | None, filter_: str | None, ids: tuple[str, ...], dry_run: bool
) -> dict[str, Any]:
    """Return what `/v1` is asked for; UsageError where something is missing."""
    if not destination or not begin:
        raise click.UsageError("say --destination and --from, or one of the commands list, show, cancel")
    wanted: dict[str, Any] = {"destination": destination, "dry_run": dry_run, "ids": ids}
    wanted["from"] = begun(begin)
    if end:
        wanted["to"] = named("--to", end).isoformat()
    if filter_:
        wanted["filter"] = wanting.read(filter_)
    return wanted


def _awaited(directory: Path, said: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Return the replay once it is over, with a bar meanwhile."""
    for label, states, whole, done in PHASES:
        with click.progressbar(length=max(said[whole], 1), label=label, show_pos=True, hidden=quiet) as bar:
            while said["state"] in states:
                time.sleep(LOOK_S)
                said = ask(directory, "GET", _path(said["id"]))
                bar.update(min(done(said), bar.length or 1) - bar.pos)
            bar.update((bar.length or 1) - bar.pos if said["state"] != "cancelled" else 0)
    return said


def ended(said: dict[str, Any]) -> int:
    """Return how many events of a replay nothing more is done about."""
    return sum(said[fate] for fate in FATES)


PHASES: Final[Sequence[tuple[str, Collection[str], str, Callable[[dict[str, Any]], int]]]] = (
    ("looked at", ("preparing", "copying"), "total", lambda said: int(said["looked"])),
    ("sent", ("sending",), "copied", ended),
)


def counted(said: dict[str, Any]) -> str:
    """Return what a dry run tells."""
    matched, looked, total = (said[name] for name in ("matched", "looked", "total"))
    would = "would be sent" if said["filtered"] else "fit"
    of = f"{looked} recorded events" if said["whole"] else f"the first {looked} events that were looked at"
    more = "" if said["whole"] else f"; there are about {total}"
    return f"{matched} of {of} {would}{more}.{'' if said['filtered'] else f' {UNTOLD}'}"


def _say(said: dict[str, Any], *, as_json: bool) -> None:
    click.echo(orjson.dumps(said).decode() if as_json else "\n".join(told(said)))


def told(said: dict[str, Any]) -> Iterator[str]:
    """Return a replay as lines."""
    yield f"Replay {said['id']} to {said['destination']} {STATES[said['state']].format(**said, ended=fates(said))}."
    if said["state"] in LIVE and (stands := STANDS.get(said.get("destination_state", ""))):
        yield stands.format(**said)
    asked, begin, end = (second(said[name]) for name in ("asked_at", "begin_at", "end_at"))
    span = f"from {begin} to {end}" if not begin.startswith(EVER) else f"until {end}"
    yield f"{said['by']} asked for it at {asked}: what was recorded {span}."


def fates(said: dict[str, Any]) -> str:
    """Return what became of its events: counts that a kill may have left a little short."""
    parts = [words.format(number=said[fate]) for fate, words in FATES.items() if said[fate] or fate == "accepted"]
    if said["unsent"] and said["state"] != "cancelled":
        parts[-1] += WHY
    if (left := said["copied"] - ended(said)) > 0 and said["state"] in LEFT:
        parts.append(LEFT[said["state"]].format(left=left))
    return f"{', '.join(parts)}, of {said['copied']}"


def cells(said: dict[str, Any]) -> list[str]:
    """Return what a line says of a replay."""
    counts = [str(number) for number in (ended(said), said["copied"], said["looked"])]
    return [second(said["asked_at"]), said["id"], said["destination"], said["state"], *counts, said["by"]]


def _path(name: str) -> str:
    return f"/v1/replays/{quote(name, safe='')}"
