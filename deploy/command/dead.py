"""`ringhook dead`: what was put aside because no retry could mend it, and how it is tried again or left be."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from deploy.command.columns import Columns, second, terminal
from deploy.command.company import together
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.command.named import LETTER
from deploy.command.v1 import ask, tell
from deploy.command.when import SINCE, since
from workers.runtime.logs import printable

NAMES: Final = ("TIME", "REASON", "TRIES", "ACCOUNT", "ID", "WAS AT", "ADDRESS")
LONGEST: Final = 500
AT_ONCE: Final = 100
SCANNED: Final = "Only the newest {scanned} dead letters were looked at: --topic leads further back."
BARE: Final = "Its body ({bytes} bytes) is shown to a token with the scope `bodies`."
OMITTED: Final = "Its body was too large to be kept with it: what is here says where it was, and its SHA-256."


EXAMPLES: Final = """\b
Examples:
  ringhook dead list --since 1d
  ringhook dead show delivery.crm.dead:3:17
  ringhook dead retry delivery.crm.dead:3:17"""


@click.group(epilog=EXAMPLES)
def dead() -> None:
    """Look at dead letters, try them again, or drop them.

    Needs a running `ringhook admin` or `up`, and the scope `read`; `retry` and `drop` need `operate`.
    """


@dead.command("list")
@click.option("--topic", default="", help="Only of this topic, for example delivery.alerts.dead.")
@click.option("--reason", default="", help="Only those put aside for this reason.")
@SINCE
@click.option("--limit", default=50, type=click.IntRange(1, LONGEST), show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@DIRECTORY
def list_(directory: Path, *, topic: str, reason: str, begin: str | None, limit: int, as_json: bool) -> None:
    """Print dead letters of all topics, the newest first: when, why, after how many attempts, whose, and where each lies."""
    query = {"topic": topic, "reason": reason, "since": since(begin)}
    said = ask(directory, "GET", "/v1/dead", **{name: text for name, text in query.items() if text}, limit=limit)
    columns, letters = Columns(NAMES, aligned=terminal()), said["letters"]
    for line in (orjson.dumps(one).decode() for one in letters) if as_json else columns.lines(map(cells, letters)):
        click.echo(line)
    if not letters and not as_json:
        click.echo("There is no such dead letter.", err=True)
    if said["cut"] == "scanned":
        click.echo(SCANNED.format(scanned=said["scanned"]), err=True)


@dead.command()
@click.argument("address", type=LETTER)
@click.option("--json", "as_json", is_flag=True, help="All that is known of it, as one JSON object.")
@DIRECTORY
def show(address: str, directory: Path, *, as_json: bool) -> None:
    """Tell all that is known of one dead letter; ADDRESS is what `list` prints last: TOPIC:PARTITION:OFFSET."""
    seen = ask(directory, "GET", f"/v1/dead/{quote(address, safe='')}")
    for line in [orjson.dumps(seen).decode()] if as_json else told(seen):
        click.echo(line)


@dead.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...", type=LETTER)
@JSON
@DIRECTORY
def retry(addresses: tuple[str, ...], directory: Path, *, as_json: bool) -> None:
    """Try dead letters once more: events go to the destination that did not take them, webhooks through dispatch.

    Each goes out as it was, those of one key in order, however they are given; what fails again becomes a new dead letter.
    """
    _handle(directory, addresses, "retry", ("retried", "to be tried once more"), as_json=as_json)


@dead.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...", type=LETTER)
@JSON
@DIRECTORY
def drop(addresses: tuple[str, ...], directory: Path, *, as_json: bool) -> None:
    """Leave dead letters out of the list from now on; the topic keeps them until they expire."""
    _handle(directory, addresses, "drop", ("dropped", "dropped"), as_json=as_json)


def _handle(directory: Path, addresses: Sequence[str], path: str, told: tuple[str, str], *, as_json: bool) -> None:
    """Handle letters, as many at a time as `/v1` takes; `told`: the count's name, and the words for it."""
    count, words = told
    for first in range(0, len(addresses), AT_ONCE):
        said = tell(directory, f"/v1/dead/{path}", {"addresses": addresses[first : first + AT_ONCE]})
        if as_json:
            click.echo(orjson.dumps(said).decode())
            continue
        click.echo(f"{said[count]} {words}.")
        for address in said["already"]:
            click.echo(f"{printable(address)} was handled before: nothing was done about it.", err=True)


def cells(letter: dict[str, Any]) -> list[str | None]:
    """Return what a line says of a letter."""
    tries = str(letter["attempts"]) if letter["attempts"] is not None else None
    why = " ".join(part for part in (letter["reason"], _last(letter)) if part)
    return [second(letter["at"]), why, tries, letter["account"], letter["id"], letter["origin"], letter["address"]]


def _last(letter: dict[str, Any]) -> str | None:
    return f"({letter['status']})" if letter["status"] else None


def told(seen: dict[str, Any]) -> Iterator[str]:
    """Return a letter as lines."""
    yield from map(printable, _facts(seen))
    for attempt in seen["history"]:
        yield printable(f"  {second(attempt['at'])}  {_words(attempt)}")
    yield "Headers:"
    yield from (f"  {printable(name)}: {printable(value)}" for name, value in seen["headers"])
    if seen["omitted"]:
        yield OMITTED
    if "body" not in seen:
        yield BARE.format(bytes=seen["bytes"])
        return
    yield "Body:"
    yield from map(printable, seen["body"].splitlines())


def _words(attempt: dict[str, Any]) -> str:
    return f"{attempt['verdict']}{together(attempt)}, {attempt['status'] or attempt['failure']}"


def _facts(seen: dict[str, Any]) -> Iterator[str]:
    times = f" after {seen['attempts']} attempts" if (seen["attempts"] or 0) > 1 else ""
    yield f"{seen['address']} was put aside at {second(seen['at'])}{times}: {seen['reason'] or 'its record does not say why'}."
    about = {"id": seen["id"], "type": seen["type"], "account": seen["account"], "key": seen["key"], "was at": seen["origin"]}
    yield from (f"  {name}: {text}" for name, text in about.items() if text)
    if seen["history"]:
        yield "Attempts, the latest of them:"
