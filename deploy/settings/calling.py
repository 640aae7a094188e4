"""What a command is told that asks a running ringhook: where its internal port is, and by which token it asks."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from deploy.settings import parts
from deploy.settings.problems import Problems
from deploy.settings.source import Reader, gather
from deploy.settings.values import token
from workers.runtime.secrets import Secret

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what is bound there is found on the loopback


class Calling(msgspec.Struct, frozen=True, kw_only=True):
    """Where `/v1` is, and whose token is shown."""

    url: str
    token: Secret


def read_calling(environment: Mapping[str, str], directory: Path) -> Calling:
    """Return what a command needs of `.env` and the environment, or raise Misconfigured."""
    problems = Problems()
    reader = Reader(gather(environment, directory, problems), directory, problems)
    common = parts.read_common(reader)
    hint = "a token of ringhook.toml with the scope that the command needs; `ringhook init` wrote one into .env"
    shown = reader.required("RINGHOOK_TOKEN", token, Secret(""), hint=hint)
    problems.end()
    host, port = common.internal_listen
    near = "127.0.0.1" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return Calling(url=common.internal_url or f"http://{near}:{port}", token=shown)
