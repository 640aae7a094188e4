"""`ringhook up`: every role in one process, from what `ringhook init` wrote."""

from pathlib import Path

import click
import uvloop

from deploy import roles
from deploy.command.directory import DIRECTORY


@click.command()
@DIRECTORY
def up(directory: Path) -> None:
    """Run everything in this one process; Ctrl-C ends it politely."""
    uvloop.run(roles.run("up", directory, click.echo))
