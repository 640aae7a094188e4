"""`ringhook token`: a new bearer token for `/v1`, and what of it ringhook.toml holds."""

import json
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final, get_args

import click

from deploy.command.facts import JSON
from ingress.settings import Scope

BLOCK: Final = """\
[[token]]
name = {name}
sha256 = "{digest}"
scopes = {scopes}"""


@click.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(get_args(Scope)), help="What it may do; may be repeated."
)
@JSON
def token(name: str, scopes: tuple[str, ...], *, as_json: bool) -> None:
    """Make a token by which the service NAME calls /v1. It is shown this once and written nowhere."""
    if not name.strip():
        raise click.BadParameter("say whose token it is, for the log", param_hint="NAME")
    made = token_urlsafe(32)
    digest = sha256(made.encode()).hexdigest()
    if as_json:
        click.echo(json.dumps({"token": made, "name": name, "sha256": digest, "scopes": scopes}))
        return
    block = BLOCK.format(name=json.dumps(name), digest=digest, scopes=json.dumps([*dict.fromkeys(scopes)]))
    click.echo(f"The token, for {name} alone; it is not shown again:\n\n{made}\n")
    click.echo(f"Add this to ringhook.toml, then restart `ringhook up` or `ringhook admin`{_linker(scopes)}:\n\n{block}")


def _linker(scopes: tuple[str, ...]) -> str:
    return " and `ringhook linker`, which lends tokens" if "broker" in scopes else ""
