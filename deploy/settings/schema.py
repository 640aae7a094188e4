"""The JSON Schema of `ringhook.toml`, made from the structs that read it."""

from pathlib import Path
from typing import Final

import msgspec

from deploy.settings.signin import SignIn
from ingress.settings import Token
from workers.deliver.destinations import Destination
from workers.dispatch.route import Route

FILE: Final = Path(__file__).with_name("ringhook.schema.json")


class RinghookToml(msgspec.Struct, forbid_unknown_fields=True):
    """The lists of an installation: sign-in, tokens, destinations, routes. Single values and secrets stand in `.env`."""

    signin: SignIn | None = None
    token: list[Token] = []
    destination: list[Destination] = []
    route: list[Route] = []


def text() -> str:
    """Return the schema as it stands in `ringhook.schema.json` beside this file."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(RinghookToml)), indent=2).decode() + "\n"
