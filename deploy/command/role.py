"""`ringhook ingress|linker|dispatch|deliver|admin`: one role, any number of copies, on Kafka and PostgreSQL."""

from pathlib import Path
from typing import Final

import click
import uvloop

from deploy import roles
from deploy.command.directory import DIRECTORY

HELP: Final = {
    "ingress": "Take Ring's calls and users' browsers.",
    "linker": "Complete account links and keep their tokens.",
    "dispatch": "Make events of webhooks, each once.",
    "deliver": "Bring events to your HTTP services.",
    "admin": "Answer /v1 and keep the edge's facts.",
}


def _command(role: str) -> click.Command:
    @click.command(role, help=f"{HELP[role]} Any number of copies may run.")
    @DIRECTORY
    def run(directory: Path) -> None:
        uvloop.run(roles.run(role, directory, click.echo))

    return run


ingress, linker, dispatch, deliver, admin = (_command(role) for role in HELP)
