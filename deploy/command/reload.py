"""`ringhook reload`: destinations are as the files say now, without a restart."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from deploy.command.directory import DIRECTORY
from deploy.command.ending import FAILURE
from deploy.command.facts import JSON
from deploy.command.v1 import tell
from workers.runtime.logs import printable

NOBODY: Final = "No process runs that could: start `ringhook deliver` (or `up`)."
LEFT: Final = (
    "{name} is in ringhook.toml no more, and has {behind} events that it has not got. They stay where they are, and it gets them "
    "if it comes back under its name before they expire (7 days)."
)
UNHEARD: Final = "has not heard of it yet; it does as soon as it reaches the store"
BUSY: Final = "is at it still: what a destination has under way ends before it changes; ask again for what came of it"
SILENT: Final = "has not said what came of it, nor anything else for a while: see whether it runs, and reaches the store"
KEPT: Final = "{name} stays as it is."
WORDS: Final = {"added": "added", "changed": "changed", "removed": "no longer sent to:"}
LATER: Final = {"routes": "[[route]]", "tokens": "[[token]]"}


EXAMPLES: Final = """\b
Examples:
  ringhook reload
  ringhook reload --yes --json"""


@click.command(epilog=EXAMPLES)
@click.option("--yes", is_flag=True, help="Do not ask: a destination that is gone from the file goes, whatever waits for it.")
@JSON
@DIRECTORY
def reload(directory: Path, *, yes: bool, as_json: bool) -> None:
    """Let every process that delivers read its configuration anew: destinations are added, changed and removed meanwhile.

    Each reads the files of its own machine; one that finds a mistake says which, and goes on as before. Nothing loses its place.
    What else is configured is read at a start only. Needs a running `ringhook admin` or `up`, and the scope `operate`; a SIGHUP
    to one process does the same for it alone.
    """
    copies = tell(directory, "/v1/reload", {"drop": []})["copies"]
    going = backlogs(copies)
    drop = [name for name in going if yes or (not as_json and _asked(name, going[name]))]
    if drop:
        copies = tell(directory, "/v1/reload", {"drop": drop})["copies"]
    if as_json:
        click.echo(orjson.dumps({"copies": copies}).decode())
    else:
        click.echo("\n".join(line for one in copies for line in lines(one)) or NOBODY)
    sys.exit(0 if copies and all(map(well, copies)) else FAILURE)


def _asked(name: str, behind: int) -> bool:
    click.echo(LEFT.format(name=name, behind=behind))
    if not sys.stdin.isatty():
        click.echo(f"{KEPT.format(name=name)} `ringhook reload --yes` lets it go.")
        return False
    return click.confirm(f"Send nothing more to {name}?")


def backlogs(copies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the destinations that would go if they had no backlog, with the largest that a process saw."""
    found: dict[str, int] = {}
    for one in copies:
        for name, behind in one.get("kept", {}).items():
            found[name] = max(behind, found.get(name, 0))
    return found


def well(one: Mapping[str, Any]) -> bool:
    """Say whether a process is as its files say."""
    return bool(one["heard"] and not one["problem"] and not one["kept"])


def lines(one: Mapping[str, Any]) -> Iterator[str]:
    """Return what a process made of it."""
    who = f"{one['role']} ({one['copy']})"
    if not one["heard"]:
        yield f"{who}: {SILENT if one['silent'] else BUSY if one['begun'] else UNHEARD}"
        return
    if one["problem"]:
        yield f"{who}: goes on as before, because of what it found:"
        yield from (f"  {printable(line)}" for line in one["problem"].splitlines())
        return
    done = [f"{words} {', '.join(one[what])}" for what, words in WORDS.items() if one[what]]
    done += [KEPT.format(name=name).removesuffix(".") for name in one["kept"]]
    done += [f"{', '.join(LATER[name] for name in one['later'])} changed too, which takes a restart"] if one["later"] else []
    yield f"{who}: {'; '.join(done) or 'nothing to change'}"
