"""`--directory`: a command works in the folder that holds .env, whatever folder it is called from."""

import os
from pathlib import Path
from typing import Final

import click


def _enter(_context: click.Context, _parameter: click.Parameter, directory: Path) -> Path:
    """Go there: relative paths of the configuration are meant from that folder, as from a shell in it."""
    os.chdir(directory)
    return Path()


DIRECTORY: Final = click.option(
    "--directory",
    "-C",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    callback=_enter,
    help="The folder with .env and ringhook.toml.",
)
