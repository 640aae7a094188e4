"""One file a command: arguments in, words out."""

import gc
import importlib
import sys
from types import ModuleType
from typing import Final

import click

# Loaded only when asked for: `ringhook --help` must not wait for every library.
COMMANDS: Final = {
    "init": "deploy.command.init",
    "up": "deploy.command.up",
    "ingress": "deploy.command.role",
    "linker": "deploy.command.role",
    "dispatch": "deploy.command.role",
    "deliver": "deploy.command.role",
    "admin": "deploy.command.role",
    "config": "deploy.command.config",
    "doctor": "deploy.command.doctor",
    "explain": "deploy.command.explain",
    "migrate": "deploy.command.migrate",
    "grants": "deploy.command.grants",
    "topics": "deploy.command.topics",
    "accounts": "deploy.command.accounts",
    "destinations": "deploy.command.destinations",
    "send": "deploy.command.send",
    "tail": "deploy.command.tail",
    "deliveries": "deploy.command.deliveries",
    "dead": "deploy.command.dead",
    "replay": "deploy.command.replay",
    "reload": "deploy.command.reload",
    "token": "deploy.command.token",
    "secret": "deploy.command.secret",
    "keys": "deploy.command.keys",
    "backup": "deploy.command.backup",
    "restored": "deploy.command.restored",
    "support-bundle": "deploy.command.support_bundle",
    "demo": "deploy.command.demo",
}


class Commands(click.Group):
    """Finds each command in its own file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file and return what it calls by that name."""
        del ctx
        if (module := COMMANDS.get(cmd_name)) is None:
            return None
        command: click.Command = getattr(_imported(module), cmd_name.replace("-", "_"))
        return command


def _imported(module: str) -> ModuleType:
    """Import while the garbage collector rests: it would find nothing, and take a fifth of the time."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringhook")
def ringhook() -> None:
    """Take Ring's calls, link accounts, and bring events to your services: nothing lost, nothing doubled."""


def main() -> None:
    """Run the command line: exit code 2 and a sentence for what an operator can mend, 1 for other ends."""
    try:
        ringhook(standalone_mode=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody must be told in a line
        from deploy.command.ending import ended  # noqa: PLC0415 - only then: `ringhook --help` waits for nothing

        sys.exit(ended(error))
