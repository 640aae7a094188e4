"""`ringhook tail`: the events that are recorded, printed as they come."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import orjson

from deploy.command.columns import Columns, second, terminal
from deploy.command.directory import DIRECTORY
from deploy.command.v1 import Unanswered, ask
from deploy.command.wanting import EXAMPLE, filter_of
from deploy.command.when import begun
from workers.runtime.backoff import Backoff

PAGE: Final = 200
WAIT_S: Final = 20
NAMES: Final = ("TIME", "TYPE", "ACCOUNT", "DEVICE", "USER", "LINKED", "ID")
BARE: Final = "The token of RINGHOOK_TOKEN lacks the scope `bodies`, so `data` is left out."
Query = Mapping[str, str | int]


EXAMPLES: Final = """\b
Examples:
  ringhook tail
  ringhook tail --from 1h --type motion_detected --limit 10
  ringhook tail --filter '{"prefix":{"type":"com.ring.motion"}}' --json"""


@click.command(epilog=EXAMPLES)
@click.option("--filter", "expression", help=f"What to print, as in [[destination]]: {EXAMPLE}.")
@click.option("--type", "kind", help="Only events of this type; `com.ring.` may be left out.")
@click.option("--account", help="Only events of this account.")
@click.option("--device", help="Only events of this device.")
@click.option(
    "--from", "begin", help="`first` (all that is kept: 7 days), a time with its offset, or 1h for an hour ago; else what is new."
)
@click.option("--limit", type=click.IntRange(min=1), help="End after so many.")
@click.option("--json", "as_json", is_flag=True, help="Each event as a CloudEvent, one JSON object a line.")
@DIRECTORY
def tail(
    directory: Path,
    *,
    expression: str | None,
    kind: str | None,
    account: str | None,
    device: str | None,
    begin: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print events as they are recorded, until Ctrl-C. Needs a running `ringhook admin` or `up`, and the scope `read`."""
    wanted = filter_of(expression, kind=kind, account=account, device=device)
    query = {"filter": wanted} if wanted else {}
    show = Show(as_json=as_json)
    try:
        for event in events(directory, query, {"from": begun(begin)} if begin else {}, show, left=limit):
            show.event(event)
    except KeyboardInterrupt:
        return


def events(directory: Path, query: Query, begin: Query, show: "Show", *, left: int | None) -> Iterator[dict[str, Any]]:
    """Yield events for ever, or so many; a ringhook that is away for a while is waited for, and nothing is missed meanwhile."""
    place, backoff = {**begin, "limit": min(left or PAGE, PAGE)}, Backoff(first=0.5, longest=10.0)
    while True:
        try:
            page = ask(directory, "GET", "/v1/events", **query, **place)
        except Unanswered as error:
            if "after" not in place:
                raise
            show.away(error)
            time.sleep(backoff.next())
            continue
        backoff.reset()
        show.page(page)
        yield from page["events"]
        left = None if left is None else left - len(page["events"])
        if left == 0:
            return
        place = {"after": page["next"], "limit": min(left or PAGE, PAGE), "wait_s": WAIT_S}


class Show:
    """Prints: events on the output, what there is to say of them beside it."""

    def __init__(self, *, as_json: bool) -> None:
        self._columns = None if as_json else Columns(NAMES, aligned=terminal())
        self._said: set[str] = set()

    def event(self, event: dict[str, Any]) -> None:
        """Print one event in a line."""
        click.echo(self._columns.line(cells(event)) if self._columns else orjson.dumps(event).decode())

    def page(self, page: dict[str, Any]) -> None:
        """Say what a page brings beside events."""
        self._said.discard("away")
        if self._columns is None and not page["data"]:
            self._say("bare", BARE)
        elif self._columns and self._columns.aligned and "head" not in self._said:
            self._said.add("head")
            click.echo(self._columns.head())
        if page["expired"]:
            click.echo(f"Up to {page['expired']} records had expired before they were read.", err=True)
        if page["unreadable"]:
            click.echo(f"{page['unreadable']} records are no events of ringhook's, and are left out.", err=True)

    def away(self, error: Unanswered) -> None:
        """Say, once, that nothing can be read just now."""
        self._say("away", f"{str(error).rstrip('.')}. Trying again; what comes meanwhile is printed then.")

    def _say(self, what: str, words: str) -> None:
        if what not in self._said:
            self._said.add(what)
            click.echo(words, err=True)


def cells(event: dict[str, Any]) -> list[str | None]:
    """Return what a line says of an event."""
    linked = "linked" if event["linked"] else "not linked"
    named = (event.get(name) for name in ("type", "accountid", "subject", "partneruserid"))
    return [second(event["time"]), *named, linked, event["id"]]
