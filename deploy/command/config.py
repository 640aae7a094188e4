"""`ringhook config check`: says everything that is wrong with the configuration, and does nothing else."""

from pathlib import Path

import click

from deploy import roles
from deploy.command.directory import DIRECTORY
from deploy.settings import PARTS
from deploy.settings.schema import FILE


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("role", type=click.Choice(list(PARTS)), default="up")
@DIRECTORY
def check(role: str, directory: Path) -> None:
    """Check .env, the environment and ringhook.toml together, as ROLE needs them (else `up`); exit code 2 for anything wrong."""
    chosen = roles.configured(role, directory)
    names = ", ".join(chosen.destinations) or "none"
    click.echo(f"The configuration of {role} is complete. Destinations: {names}.")


@config.command()
def schema() -> None:
    """Print the JSON Schema of ringhook.toml, for editors that complete and check it."""
    click.echo(FILE.read_text(), nl=False)
