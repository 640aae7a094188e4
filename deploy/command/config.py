"""`ringhook config check`: says everything that is wrong with the configuration, and does nothing else."""

import json
import sys
from pathlib import Path

import click

from deploy import roles
from deploy.command.directory import DIRECTORY
from deploy.command.ending import MISTAKE
from deploy.settings import PARTS
from deploy.settings.problems import Wrong
from deploy.settings.schema import FILE
from schemas.errors import Misconfigured


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("role", type=click.Choice(list(PARTS)), default="up")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what is wrong too.")
@DIRECTORY
def check(role: str, directory: Path, *, as_json: bool) -> None:
    """Check .env, the environment and ringhook.toml together, as ROLE needs them (else `up`); exit code 2 for anything wrong."""
    if as_json:
        _print(role, directory)
        return
    chosen = roles.configured(role, directory)
    names = ", ".join(chosen.destinations) or "none"
    click.echo(f"The configuration of {role} is complete. Destinations: {names}.")


def _print(role: str, directory: Path) -> None:
    destinations: tuple[str, ...] = ()
    problems: list[dict[str, str | int | None]] = []
    try:
        destinations = roles.configured(role, directory).destinations
    except Wrong as error:
        problems = error.facts
    except Misconfigured as error:
        problems = [{"place": None, "line": None, "problem": str(error)}]
    click.echo(json.dumps({"role": role, "complete": not problems, "destinations": destinations, "problems": problems}))
    sys.exit(MISTAKE if problems else 0)


@config.command()
def schema() -> None:
    """Print the JSON Schema of ringhook.toml, for editors that complete and check it."""
    click.echo(FILE.read_text(), nl=False)
