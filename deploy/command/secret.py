"""`ringhook secret`: what signs deliveries to a new destination, and what of it the service holds."""

import json
from base64 import b64encode
from secrets import token_bytes
from typing import Final

import click

from deploy.command.facts import JSON
from workers.deliver.sign import DEFAULT, PREFIX, SCHEMES
from workers.runtime.secrets import Secret
from workers.runtime.signing import SigningKey, generate

SIZE: Final = 32  # bytes of a secret
WHERE: Final = "the variable that secret_env of the [[destination]] names, in .env"


EXAMPLES: Final = """\b
Examples:
  ringhook secret
  ringhook secret --sign v1a"""


@click.command(epilog=EXAMPLES)
@click.option("--sign", "scheme", type=click.Choice(SCHEMES), default=DEFAULT, show_default=True, help="As in [[destination]].")
@JSON
def secret(scheme: str, *, as_json: bool) -> None:
    """Make what signs deliveries to a destination: a secret (v1), or a pair of keys (v1a). It is written nowhere."""
    made = generate() if scheme == "v1a" else Secret(PREFIX + b64encode(token_bytes(SIZE)).decode())
    public = SigningKey(made).public if scheme == "v1a" else None
    if as_json:
        click.echo(json.dumps({"sign": scheme, "secret": made.reveal(), "public": public}))
        return
    click.echo(_pair(made.reveal(), public) if public else _shared(made.reveal()))


def _shared(made: str) -> str:
    return f"The secret, for {WHERE}, and for the service; it is not shown again:\n\n{made}"


def _pair(made: str, public: str) -> str:
    signs = f"The key that signs, for {WHERE}, and for nobody else; it is not shown again:\n\n{made}"
    checks = f"The key that checks, for the service; it is no secret:\n\n{public}"
    return f'{signs}\n\n{checks}\n\nAdd sign = "v1a" to the [[destination]].'
