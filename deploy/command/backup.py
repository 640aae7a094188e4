"""`ringhook backup DIR`: a copy of the store while everything runs, and the names of what must be kept beside it."""

import asyncio
import os
from pathlib import Path
from shlex import quote
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import click
from sqlalchemy.engine import make_url

from deploy import engines, roles
from deploy.command.directory import DIRECTORY
from deploy.settings import FILE
from deploy.settings.parts import Common
from deploy.settings.problems import Problems
from deploy.settings.source import Reader, gather
from linker.sealed import Sealed
from schemas.errors import Misconfigured
from workers.runtime import storecopy
from workers.runtime.storefault import StoreUnavailable

KEEP: Final = (
    "RINGHOOK_VAULT_KEYS",
    "RINGHOOK_CODE_PUBLIC_KEY",
    "RINGHOOK_CODE_PRIVATE_KEYS",
    "RINGHOOK_COOKIE_KEYS",
    "RINGHOOK_EXCHANGE_SECRET",
    "RINGHOOK_RING_CLIENT_ID",
    "RINGHOOK_RING_CLIENT_SECRET",
    "RINGHOOK_RING_HMAC_KEY",
)


def _absolute(_context: click.Context, _parameter: click.Parameter, target: Path) -> Path:
    """Mean the folder from where the command was typed, whatever -C says; it is taken before -C is entered."""
    return target.absolute()


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), callback=_absolute, is_eager=True)
@DIRECTORY
def backup(target: Path, directory: Path) -> None:
    """Copy the store and ringhook.toml into DIR while ringhook runs. No secret is copied: what to keep elsewhere is named."""
    common = roles.configured("backup", directory).common
    if not common.store_url.startswith("sqlite"):
        raise Misconfigured(elsewhere(common.store_url, target))
    needed = asyncio.run(_keys(common))
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{target} cannot be made: {error.strerror}") from error
    size = storecopy.copy(Path(str(make_url(common.store_url).database)), target / "store.db")
    (target / FILE).write_bytes((directory / _configured(directory)).read_bytes())
    click.echo(f"Wrote {target / 'store.db'} ({size:,} bytes) and {target / FILE}.")
    click.echo(beside(needed))


def beside(keys: list[str]) -> str:
    """Return what else a restore needs, by name."""
    opens = f"its tokens open with {', '.join(keys)} of RINGHOOK_VAULT_KEYS only" if keys else "it holds no tokens yet"
    return (
        f"Not in it, and needed: of .env (or your secret store) {', '.join(KEEP)}; their _NEXT, where you have them, "
        f"RINGHOOK_TOKEN, and the secrets that {FILE} names. Keep them apart from this copy: {opens}.\n"
        "The bus is not in it: see the README, Backup and restore. The copy says that it is one: whoever starts on it looks for\n"
        "what was lost, and renews all tokens at once. So never start it beside the original."
    )


def elsewhere(url: str, target: Path) -> str:
    """Return what to type where the store is PostgreSQL, which copies itself; never with a password."""
    bare, dump = quote(passwordless(url)), quote(str(target / "store.dump"))
    back = "--clean --if-exists --no-owner --no-privileges --single-transaction"
    return (
        "The store is PostgreSQL, which has its own tool: nothing was written. It asks for the password (or reads ~/.pgpass):\n"
        f"  mkdir -p -m 700 {quote(str(target))}\n"
        f"  pg_dump --format=custom --file={dump} --dbname={bare}\n"
        "and to bring it back, with every role stopped:\n"
        f"  pg_restore {back} --dbname={bare} {dump}\n"
        "  ringhook restored\n"
        "which lets the next start look for what was lost, and says what comes then.\n"
        "Keep ringhook.toml, and apart from the dump the secrets of .env (or your secret store): " + ", ".join(KEEP) + "."
    )


def passwordless(url: str) -> str:
    """Return a URL of PostgreSQL without its password, wherever it stands."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    asked = [(name, value) for name, value in parse_qsl(parts.query) if name not in {"password", "passfile", "sslpassword"}]
    return parts._replace(scheme="postgresql", netloc=netloc, query=urlencode(asked)).geturl()


def _configured(directory: Path) -> Path:
    given = gather(os.environ, directory, problems := Problems())
    return Reader(given, directory, problems).default("RINGHOOK_CONFIG", Path, Path(FILE))


async def _keys(common: Common) -> list[str]:
    """Return the ids of the keys that the store's tokens need."""
    try:
        with engines.refusals():
            await engines.migrated(common)
            async with engines.open_store(common) as store:
                return await Sealed(store).in_use()
    except StoreUnavailable as error:
        raise Misconfigured(f"{error}. Nothing was written") from error
