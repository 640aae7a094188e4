"""`ringhook init`: a folder ready to run, with keys made on this machine."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from shlex import quote
from typing import Final

import click

from deploy.command.asking import asked, on_a_terminal
from deploy.settings.values import base_url
from schemas.errors import Misconfigured
from workers.runtime.sealing import generate_code_keys, generate_key

FROM_PORTAL: Final = {
    "RINGHOOK_RING_CLIENT_ID": "the client id that Ring's developer portal shows",
    "RINGHOOK_RING_CLIENT_SECRET": "the client secret, shown once beside it",
    "RINGHOOK_RING_HMAC_KEY": "the HMAC signing key, as it stands there: not decoded, nothing around it",
    "RINGHOOK_PUBLIC_URL": "what Ring and browsers call, https://… without a path",
}

FILES: Final = (".env", "ringhook.toml")

TOML: Final = """\
# ringhook's lists. Single values and secrets stand in .env beside it. `ringhook config check` reads both.

[signin]
kind = "dev"                     # one passcode for the first days
passcode_env = "RINGHOOK_DEV_PASSCODE"
# kind = "oidc"                  # or your identity provider; redirect URI there: PUBLIC_URL/ring/account-link/callback
# issuer = "https://login.example.com"
# client_id = "ringhook"
# client_secret_env = "ISSUER_SECRET"   # put ISSUER_SECRET=… into .env
# kind = "handoff"               # or a login page of your own
# login_url = "https://login.example.com/ring"

[[token]]                        # who may call /v1 on the internal port; this one is RINGHOOK_TOKEN
name = "command"
sha256 = "{digest}"
scopes = ["read", "operate", "claim"]

# [[destination]]                # each HTTP service that is to receive events
# name = "alerts"
# url = "https://alerts.example.com/ring"
# secret_env = "ALERTS_SECRET"   # `ringhook secret` makes one; put ALERTS_SECRET=… into .env
# key = "device"                 # events of one device stay in order
"""


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--non-interactive", is_flag=True, help="Ask nothing: what is not in the environment is filled in later.")
def init(directory: Path, *, non_interactive: bool) -> None:
    """Write .env (0600) and ringhook.toml into DIRECTORY; what is there already is never overwritten.

    Values of RINGHOOK_RING_… and RINGHOOK_PUBLIC_URL in the environment are taken over. On a terminal it asks for the others,
    says where in Ring's portal each stands, and looks at what is pasted for the usual damages.
    """
    given = portal(os.environ)
    _demand_room(directory)
    if interactive() and not non_interactive:
        given = asked(given, click.echo, on_a_terminal)
        click.echo()
    exchange, token = token_urlsafe(24), token_urlsafe(32)
    files = {
        ".env": (environment_file(given, exchange, token), 0o600),
        "ringhook.toml": (TOML.format(digest=sha256(token.encode()).hexdigest()), 0o644),
    }
    try:
        _fill(directory, files)
    except OSError as error:
        where = f"{error.filename or directory} cannot be written: {error.strerror}"
        raise Misconfigured(f"{where}. Nothing was kept; choose another folder, or make room") from error
    click.echo(next_steps(directory, given, exchange))


def portal(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the portal's values as far as they are given, the public URL as `config check` takes it, or raise Misconfigured."""
    given = {name: environment[name] for name in FROM_PORTAL if environment.get(name)}
    try:
        return given | {name: base_url(url) for name, url in given.items() if name == "RINGHOOK_PUBLIC_URL"}
    except ValueError as error:
        raise Misconfigured(f"environment: RINGHOOK_PUBLIC_URL: {error}. Nothing was written") from error


def interactive() -> bool:
    """Say whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _demand_room(directory: Path) -> None:
    """Raise Misconfigured where the files are there already: before anybody is asked for anything, too."""
    present = [name for name in FILES if (directory / name).exists()]
    if present:
        raise Misconfigured(f"{directory} holds {' and '.join(present)} already: nothing was written. Choose another folder.")


def _fill(directory: Path, files: Mapping[str, tuple[str, int]]) -> None:
    """Write all files or none, but where the process dies in between."""
    directory.mkdir(parents=True, exist_ok=True)
    _demand_room(directory)
    with ExitStack() as undoing:
        for name, (text, mode) in files.items():
            with os.fdopen(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                undoing.callback((directory / name).unlink, missing_ok=True)
                file.write(text)
        (directory / "var").mkdir(exist_ok=True)
        undoing.pop_all()


def environment_file(given: Mapping[str, str], exchange: str, token: str) -> str:
    """Return the text of a new `.env`: the portal's values as far as they are given, and fresh keys."""
    public, private = generate_code_keys()
    portal = [f"# {meaning}\n{name}={given.get(name, '')}" for name, meaning in FROM_PORTAL.items()]
    made = {
        "RINGHOOK_EXCHANGE_SECRET": exchange,
        "RINGHOOK_VAULT_KEYS": generate_key(),
        "RINGHOOK_COOKIE_KEYS": generate_key(),
        "RINGHOOK_CODE_PUBLIC_KEY": public,
        "RINGHOOK_CODE_PRIVATE_KEYS": private,
        "RINGHOOK_TOKEN": token,
        "RINGHOOK_DEV_PASSCODE": token_urlsafe(9),
    }
    head = "# Secrets of this installation. Keep a copy in a safe place: without RINGHOOK_VAULT_KEYS every user must reconnect."
    keys = [f"{name}={value}" for name, value in made.items()]
    return "\n".join([head, "", "# From the portal", *portal, "", "# Made here", *keys, ""])


def next_steps(directory: Path, given: Mapping[str, str], exchange: str) -> str:
    """Return what to do now, in words."""
    missing = [name for name in FROM_PORTAL if not given.get(name)]
    base = given.get("RINGHOOK_PUBLIC_URL") or "https://YOUR-HOST"
    fill = [f"  1. Fill in {directory / '.env'}: {', '.join(missing)}."] if missing else ["  1. .env is complete."]
    return "\n".join(
        [
            f"Wrote {directory / '.env'} (readable by you alone) and {directory / 'ringhook.toml'}.",
            "",
            "Next:",
            *fill,
            "  2. Enter these four URLs in Ring's developer portal, on the tab of the environment you test:",
            f"       Token Exchange URL  {base}/ring/token-exchange/{exchange}",
            f"       Account Link URL    {base}/ring/account-link",
            f"       Webhook URL         {base}/ring/webhook",
            f"       App Homepage URL    {base}/",
            f"  3. cd {quote(str(directory))} && ringhook config check && ringhook up",
            "  4. On a phone, signed in to the Ring account that the portal allowlisted: Ring app, Ring Appstore, your app,",
            "     choose devices, confirm.",
            '     The portal\'s own "Log in with Ring" button only allowlists a tester: it calls no URL of yours.',
        ]
    )
