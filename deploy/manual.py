"""A page for each command, made of what `--help` says: `python -m deploy.manual` writes them, and a test compares."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from deploy.command import COMMANDS, ringhook
from deploy.generated import write

FOLDER: Final = Path(__file__).with_name("manual")
WIDTH: Final = 110
HEAD: Final = """# Commands

Each page is what `ringhook COMMAND --help` says. Commands run in the folder with `.env` and `ringhook.toml`, or name it by `-C`.
Exit code 0: well; 1: something is not as it should be; 2: the command cannot do what was asked, and says why. `--json` prints
facts for programs. Those that ask a running ringhook find it by RINGHOOK_INTERNAL_URL and show it RINGHOOK_TOKEN.

"""


def pages() -> Mapping[str, str]:
    """Return every page by its file's name."""
    made = {f"{name}.md": "".join(_page(_found(name), f"ringhook {name}")) for name in COMMANDS}
    return {"README.md": HEAD + "".join(map(_entry, COMMANDS))} | made


def _entry(name: str) -> str:
    return f"- [{name}]({name}.md): {_found(name).get_short_help_str(WIDTH)}\n"


def _found(name: str) -> click.Command:
    found = ringhook.get_command(click.Context(ringhook), name)
    if found is None:
        raise LookupError(name)
    return found


def _page(command: click.Command, title: str) -> Iterator[str]:
    """Yield the help of a command, and of what is below it."""
    context = click.Context(command, info_name=title, help_option_names=["-h", "--help"], terminal_width=WIDTH)
    yield f"# {title}\n\n```console\n{command.get_help(context).rstrip()}\n```\n"
    below = command.commands if isinstance(command, click.Group) else {}
    for name in sorted(below):
        yield f"\n#{''.join(_page(below[name], f'{title} {name}'))}"


if __name__ == "__main__":
    write(FOLDER, pages())
