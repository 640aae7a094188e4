"""`ringhook deliveries`: what became of events on their way to HTTP destinations, and one of them once more."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click
import orjson

from deploy.command.columns import Columns, second, terminal
from deploy.command.company import doubt, others, together
from deploy.command.destinations import demand_known
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.command.named import DESTINATION, EVENT
from deploy.command.v1 import ask, tell
from deploy.command.when import SINCE, since
from workers.runtime.logs import printable

NAMES: Final = ("TIME", "DESTINATION", "VERDICT", "STATUS", "TRY", "TOOK", "ACCOUNT", "EVENT")
LONGEST: Final = 500
LEFT_OUT: Final = (
    "Attempts are kept 3 days. Under load, first attempts that were accepted at once may be left out: that none is shown does "
    "not mean that none was made."
)
RETRIED: Final = "{event} is put aside for {destination}, to be sent once more, in the order of its key (replay {replay})."
BURIED: Final = "put on the dead letters ({reason}): `ringhook dead show {address}`"
SCANNED: Final = "Only the newest {scanned} attempts were looked at: --account leads further back."
FAILURES: Final = {
    "connect": "no connection",
    "tls": "TLS failed",
    "dns": "its name was not found",
    "timeout": "no answer in time",
    "protocol": "its answer was no HTTP",
    "guard": "its address is not allowed",
}
VERDICTS: Final = {
    "accepted": "accepted",
    "refused": "refused",
    "failed": "failed",
    "throttled": "asked to slow down",
    "gone": "gone (410)",
    "cancelled": "not sent: nothing is sent for this account any more",
    "unwanted": "not sent: the destination does not take it (its `filter`, or `deliver_unlinked`)",
}
MEANINGS: Final = {"refused": " (the event is at fault)", "gone": ": the destination is disabled"}


EXAMPLES: Final = f"""{LEFT_OUT}

\b
Examples:
  ringhook deliveries list --failed --since 1h
  ringhook deliveries show "$EVENT_ID"
  ringhook deliveries retry "$EVENT_ID" --destination crm"""


@click.group(epilog=EXAMPLES)
def deliveries() -> None:
    """Look at attempts to deliver, and send an event once more.

    Needs a running `ringhook admin` or `up`, and the scope `read`; `retry` needs `operate`.
    """


@deliveries.command("list", epilog=LEFT_OUT)
@click.option("--destination", default="", help="Only to this one.")
@click.option("--event", default="", help="Only of this event.")
@click.option("--account", default="", help="Only of this account; much quicker.")
@click.option("--failed", is_flag=True, help="Only what was not accepted.")
@SINCE
@click.option("--limit", default=50, type=click.IntRange(1, LONGEST), show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="All that is known of each, one JSON object a line.")
@DIRECTORY
def list_(
    directory: Path, *, destination: str, event: str, account: str, failed: bool, begin: str | None, limit: int, as_json: bool
) -> None:
    """Print attempts, the newest first."""
    query = {"destination": destination, "event": event, "account": account, "since": since(begin)}
    asked = {name: text for name, text in query.items() if text}
    said = ask(directory, "GET", "/v1/deliveries", **asked, failed=str(failed).lower(), limit=limit)
    columns = Columns(NAMES, aligned=terminal())
    rows = [cells(attempt) for attempt in said["deliveries"]]
    for line in (orjson.dumps(one).decode() for one in said["deliveries"]) if as_json else columns.lines(rows):
        click.echo(line)
    if destination and not rows:
        demand_known(directory, destination)
    _say(said, none=None if as_json else "No such attempt was written down.")


@deliveries.command()
@click.argument("event", type=EVENT)
@click.option("--destination", required=True, type=DESTINATION, help="To which destination.")
@click.option("--account", default="", help="The event's account, if it is known: the search is quicker then.")
@JSON
@DIRECTORY
def retry(event: str, directory: Path, *, destination: str, account: str, as_json: bool) -> None:
    """Send an event to one destination once more, whatever became of it and whatever its filter; it carries `webhook-replay`."""
    said = tell(directory, "/v1/deliveries/retry", {"event": event, "destination": destination, "account": account})
    click.echo(orjson.dumps(said).decode() if as_json else RETRIED.format(**said))


@deliveries.command(epilog=LEFT_OUT)
@click.argument("event", type=EVENT)
@click.option("--account", default="", help="The event's account, if it is known: the search is quicker then.")
@click.option("--json", "as_json", is_flag=True, help="Each attempt as a JSON object, in order.")
@DIRECTORY
def show(event: str, directory: Path, *, account: str, as_json: bool) -> None:
    """Tell what became of EVENT, destination by destination, and where its dead letters lie."""
    asked = {"account": account} if account else {}
    said = ask(directory, "GET", "/v1/deliveries", event=event, limit=LONGEST, **asked)
    attempts = sorted(said["deliveries"], key=lambda one: (one["destination"], one["at"]))
    for line in (orjson.dumps(one).decode() for one in attempts) if as_json else told(event, attempts):
        click.echo(line)
    _say(said, none=f"No attempt to deliver {printable(event)} was written down.")


def _say(said: dict[str, Any], *, none: str | None) -> None:
    if none and not said["deliveries"]:
        click.echo(f"{none} {LEFT_OUT}", err=True)
    if said["cut"] == "scanned":
        click.echo(SCANNED.format(scanned=said["scanned"]), err=True)


def cells(attempt: dict[str, Any]) -> list[str | None]:
    """Return what a line says of an attempt."""
    before = [second(attempt["at"]), attempt["destination"], attempt["verdict"] + together(attempt), outcome(attempt)]
    return [*before, str(attempt["number"]), took(attempt), attempt["account"], attempt["event"]]


def told(event: str, attempts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return the attempts of an event as lines."""
    if attempts:
        one = attempts[0]
        device = f", device {one['device']}" if one["device"] else ""
        yield printable(f"{event} is {one['type']} of account {one['account']}{device}.")
    for destination, tries in groupby(attempts, key=lambda one: one["destination"]):
        yield printable(f"To {destination}:")
        for attempt in tries:
            yield printable(f"  {second(attempt['at'])}  {_words(attempt)}")
            if letter := attempt.get("letter"):
                yield printable(f"  {second(letter['at'])}  {BURIED.format(**letter)}")


def _words(attempt: dict[str, Any]) -> str:
    words, long = verdict(attempt), took(attempt)
    return f"attempt {attempt['number']}: {words}, {outcome(attempt)}, after {long}" if long else words


def verdict(attempt: dict[str, Any]) -> str:
    """Return what an attempt came to, and what that means; of one that was sent together with others, not for it alone."""
    word, count = str(attempt["verdict"]), others(attempt)
    meaning = doubt(count) if count and word == "refused" else MEANINGS.get(word, "")
    return VERDICTS.get(word, word) + together(attempt) + meaning


def outcome(attempt: dict[str, Any]) -> str | None:
    """Return the status that was answered, or why there was none; None where nothing was asked."""
    if attempt["status"] is not None:
        return str(attempt["status"])
    failure = attempt["failure"]
    return FAILURES.get(failure, failure) if failure else None


def took(attempt: dict[str, Any]) -> str | None:
    """Return how long the answer took, None where nothing was asked."""
    return f"{attempt['took_ms']:.0f} ms" if attempt["status"] is not None or attempt["failure"] else None
