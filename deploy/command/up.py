"""`ringhook up`: every role in one process, from what `ringhook init` wrote."""

from pathlib import Path

import click
import uvloop

from deploy import roles


@click.command()
@click.option(
    "--directory", "-C", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".", help="where .env is"
)
def up(directory: Path) -> None:
    """Run everything in this one process; Ctrl-C ends it politely."""
    uvloop.run(roles.run("up", directory, click.echo))
