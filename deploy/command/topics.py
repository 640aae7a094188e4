"""`ringhook topics apply|check|acls`: the topics as ringhook needs them. External creation is fine, `check` decides."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import click

from deploy import roles
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.settings import Settings
from schemas.errors import Misconfigured, Unavailable
from schemas.topics import Topic
from workers.bus import kafka


class Act(Protocol):
    """`kafka.apply` or `kafka.check`."""

    def __call__(
        self, url: str, *, namespace: str, topics: Collection[Topic], single_broker: bool = False
    ) -> Awaitable[Sequence[str]]:
        """Return lines of words."""
        ...


@click.group()
def topics() -> None:
    """Create, check and protect the topics on Kafka."""


@topics.command()
@JSON
@DIRECTORY
def apply(directory: Path, *, as_json: bool) -> None:
    """Create what is missing and set what differs; a second time does nothing. Exit code 1 if something differs still."""
    chosen = _chosen(directory)
    done = _asked(kafka.apply, chosen)
    differences = _asked(kafka.check, chosen)
    if as_json:
        _end({"done": [*done], "differences": [*differences]})
    still = ["What cannot be mended from here:", *differences] if differences else []
    _print([*done, *still], otherwise="Every topic is there and as it must be: nothing was done.")
    sys.exit(1 if differences else 0)


@topics.command()
@JSON
@DIRECTORY
def check(directory: Path, *, as_json: bool) -> None:
    """Name everything that differs from what ringhook needs; exit code 1 if anything does."""
    differences = _asked(kafka.check, _chosen(directory))
    if as_json:
        _end({"differences": [*differences]})
    _print(differences, otherwise="Every topic is there and as it must be.")
    sys.exit(1 if differences else 0)


@topics.command()
@DIRECTORY
def acls(directory: Path) -> None:
    """Print the commands that let each role write and read what it needs, and nothing else."""
    chosen = _chosen(directory)
    _print(kafka.acls(chosen.common.namespace, chosen.topics), otherwise="")


def _chosen(directory: Path) -> Settings:
    chosen = roles.configured("topics", directory)
    if not chosen.common.bus_url.startswith("kafka"):
        raise Misconfigured("RINGHOOK_BUS_URL is a file on this machine, which needs no topics: this command is for kafka://…")
    return chosen


def _asked(act: Act, chosen: Settings) -> Sequence[str]:
    common = chosen.common
    try:
        asking = act(
            common.bus_url,
            namespace=common.namespace,
            topics=chosen.topics,
            single_broker=common.single_broker,
        )
        return asyncio.run(_awaited(asking))
    except Unavailable as error:
        raise Misconfigured(str(error)) from error


async def _awaited(asking: Awaitable[Sequence[str]]) -> Sequence[str]:
    return await asking


def _end(facts: Mapping[str, list[str]]) -> NoReturn:
    click.echo(json.dumps(facts))
    sys.exit(1 if facts["differences"] else 0)


def _print(lines: Sequence[str], *, otherwise: str) -> None:
    say: Callable[[str], None] = click.echo
    for line in lines or (otherwise,):
        say(line)
