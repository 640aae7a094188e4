"""`ringhook support-bundle`: one file for whoever helps, without secrets, event data or accounts' tokens."""

import asyncio
import io
import os
import platform
import re
import tarfile
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
import msgspec
import orjson

from deploy import bundle
from deploy.command.directory import DIRECTORY
from deploy.command.doctor import examined
from deploy.command.v1 import PATIENCE, ask
from deploy.settings import PARTS
from deploy.settings.calling import read_calling
from deploy.settings.problems import Problems
from deploy.settings.source import gather
from schemas.errors import Misconfigured

LATEST: Final = 50  # failed attempts, and dead letters
LEFT: Final = frozenset({"answer", "account", "device", "key", "origin"})  # of these: whose they were, and what strangers said
WRITTEN: Final = """Wrote {path} (readable by you alone):
{names}
Values of .env that may be secret were left out, and masked wherever else they stood. Look into it before you pass it on."""


@click.command("support-bundle")
@click.argument("path", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--role", type=click.Choice(list(PARTS)), default="up", show_default=True, help="Whose configuration it is.")
@DIRECTORY
def support_bundle(path: Path | None, role: str, directory: Path) -> None:
    """Write versions, the configuration without secrets, what the doctor says, metrics and the last errors into PATH (.tar.gz).

    What a running `ringhook admin` (or `up`) knows is in it where one answers; else the file says why not.
    """
    given = _given(directory)
    parts = {name: _tried(make) for name, make in _parts(given, role, directory).items()}
    target = path or Path(f"ringhook-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    hidden = bundle.secrets(given)
    _write(target, {name: bundle.cleaned(text, hidden) for name, text in parts.items()})
    click.echo(WRITTEN.format(path=target, names="\n".join(f"  {name}" for name in parts)))


def _given(directory: Path) -> dict[str, str]:
    """Return the named values of this installation: of its .env, ringhook's own, and what its ringhook.toml names."""
    own, toml = gather({}, directory, Problems()).values, directory / "ringhook.toml"
    named = set(re.findall(r"\w+", toml.read_text(errors="replace"))) if toml.is_file() else set[str]()
    every = gather(os.environ, directory, Problems()).values
    return {name: value.text for name, value in every.items() if name.startswith("RINGHOOK_") or name in own or name in named}


def _parts(given: Mapping[str, str], role: str, directory: Path) -> dict[str, Callable[[], str]]:
    return {
        "about.json": _about,
        "environment.json": lambda: _json(bundle.values(given)),
        "ringhook.json": lambda: _json(bundle.lists(tomllib.loads((directory / "ringhook.toml").read_text()))),
        "doctor.json": lambda: _json(msgspec.to_builtins(examined(role, directory))),
        "metrics.txt": lambda: asyncio.run(_metrics(directory)),
        "failed.json": lambda: _json(_bare(ask(directory, "GET", "/v1/deliveries", failed="true", limit=LATEST))),
        "dead.json": lambda: _json(_bare(ask(directory, "GET", "/v1/dead", limit=LATEST))),
    }


def _tried(make: Callable[[], str]) -> str:
    """Return what is to be written, or why it could not be had."""
    try:
        return make()
    except (Misconfigured, OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
        return f"not to be had: {str(error) or type(error).__name__}\n"


def _about() -> str:
    told = {"ringhook": version("ringhook"), "python": platform.python_version(), "system": platform.platform()}
    return _json(told | {"made_at": datetime.now(UTC).isoformat()})


async def _metrics(directory: Path) -> str:
    calling = read_calling(os.environ, directory)
    headers = {"Authorization": f"Bearer {calling.token.reveal()}"}
    async with (
        aiohttp.ClientSession(timeout=PATIENCE, trust_env=False) as client,
        client.get(f"{calling.url}/metrics", headers=headers, allow_redirects=False) as answer,
    ):
        return await answer.text()


def _bare(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return {name: _bare(inner) for name, inner in value.items() if name not in LEFT}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"


def _write(target: Path, texts: Mapping[str, str]) -> None:
    """Write the archive; one that is there already stays."""
    try:
        file = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise Misconfigured(f"{target} cannot be written: {error.strerror}. Name another file") from error
    with file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in texts.items():
            entry = tarfile.TarInfo(f"ringhook-support/{name}")
            entry.size, entry.mode = len(data := text.encode()), 0o600
            archive.addfile(entry, io.BytesIO(data))
