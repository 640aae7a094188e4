"""What is said of the configuration that `ringhook init` writes, after a change."""

from collections.abc import Mapping
from pathlib import Path

from deploy import settings
from deploy.command.init import TOML, environment_file
from schemas.errors import Misconfigured

PORTAL = {
    "RINGHOOK_RING_CLIENT_ID": "client",
    "RINGHOOK_RING_CLIENT_SECRET": "canary-client-secret",
    "RINGHOOK_RING_HMAC_KEY": "canary-hmac-key",
    "RINGHOOK_PUBLIC_URL": "https://ring.example.com",
}
DESTINATION = '[[destination]]\nname = "alerts"\nurl = "https://alerts.example.com/ring"\nsecret_env = "ALERTS"\n'
SECRET = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"
SHARED = "RINGHOOK_BUS_URL=kafka://h\nRINGHOOK_STORE_URL=postgresql://u@h/x\n"
TOKEN = f'[[token]]\nname = "t"\nsha256 = "{"a" * 64}"\nscopes = ["read"]\n'


def installed(directory: Path, given: Mapping[str, str] = PORTAL, more: str = "") -> None:
    """Write what `init` writes, with these values of the portal, and more lines of `.env`."""
    (directory / ".env").write_text(environment_file(given, "e" * 20, "token") + f"ALERTS={SECRET}\n" + more)
    (directory / "ringhook.toml").write_text(TOML.format(digest="b" * 64))


def told(directory: Path, role: str = "up", environment: Mapping[str, str] | None = None) -> list[str]:
    """Return every problem of a directory, in order; none of them shows a secret."""
    said = ""
    try:
        settings.read(role, environment or {}, directory)
    except Misconfigured as error:
        said = str(error)
    assert "canary" not in said
    return [line.strip() for line in said.splitlines()[1:]]


def wrong(directory: Path, env: str = "", more: str = "", role: str = "up", signin: str | None = None) -> list[str]:
    """Return every problem of what `init` writes and these lines below it (in both files they begin at `+1`)."""
    installed(directory)
    secrets, lists = directory / ".env", directory / "ringhook.toml"
    if signin is not None:
        lists.write_text(f"[signin]\n{signin}\n")
    starts = {file.name: file.read_text().count("\n") for file in (secrets, lists)}
    secrets.write_text(secrets.read_text() + env)
    lists.write_text(lists.read_text() + more)
    return [_from(problem, starts) for problem in told(directory, role)]


def _from(problem: str, starts: dict[str, int]) -> str:
    """Count lines from the end of what `init` wrote."""
    file, line, *words = problem.split(":")
    return ":".join([file, f"+{int(line) - starts[file]}", *words]) if line.isdigit() and int(line) > starts[file] else problem
