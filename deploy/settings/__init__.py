"""The configuration as each part needs it, read from named values and `ringhook.toml`; everything wrong is told together."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy.settings import cross, lists, names, parts, signin
from deploy.settings.document import Document, load
from deploy.settings.problems import Problems
from deploy.settings.schema import RinghookToml
from deploy.settings.source import Reader, gather
from deploy.settings.toml import unknown_tables
from deploy.settings.values import path
from ingress.settings import Token
from schemas.errors import Misconfigured
from schemas.topics import Topic, declared
from workers.bus.kafka.url import LONGEST
from workers.dispatch.parked import Bounds
from workers.dispatch.route import Route
from workers.runtime.sealing import Keyring

Part = str
PARTS: Final[Mapping[str, Collection[Part]]] = {
    "ingress": ("edge",),
    "linker": ("vault",),
    "dispatch": ("dispatch",),
    "deliver": ("services",),
    "admin": ("admin",),
    "up": ("edge", "vault", "dispatch", "services", "admin"),
}
COMMANDS: Final[Mapping[str, Collection[Part]]] = {"destinations": ("services",)}  # of commands that need a part, and run none
FILE: Final = "ringhook.toml"
TABLES: Final = RinghookToml.__struct_fields__


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """What admin is told besides: the keys of tickets, and where browsers come back."""

    cookies: Keyring
    public_url: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One role's configuration; what the role does not run is None."""

    role: str
    common: parts.Common
    destinations: tuple[str, ...]
    routes: tuple[Route, ...] = ()
    edge: parts.Edge | None = None
    vault: parts.Vault | None = None
    waiting: Bounds | None = None  # of dispatch
    services: tuple[lists.Service, ...] | None = None
    admin: Admin | None = None
    tokens: tuple[Token, ...] = ()  # who may call `/v1`: admin's, and the linker's broker

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Every topic that the installation needs."""
        return declared(self.destinations, [route.topic for route in self.routes])


def read(role: str, environment: Mapping[str, str], directory: Path) -> Settings:
    """Return what the role (or a command, which runs no part) needs; Misconfigured holds every problem with its place."""
    problems = Problems()
    environment = {name: value for name, value in environment.items() if not name.startswith(names.OF_TESTS)}
    _demand_something(environment, directory)
    given = gather(environment, directory, problems)
    reader = Reader(given, directory, problems)
    file = reader.default("RINGHOOK_CONFIG", path, FILE)
    document = load(directory / file, file, problems, expected=reader.sound("RINGHOOK_CONFIG"))
    unknown_tables(document, TABLES, problems)
    names.unknown(given, document, problems)
    found = _read(role, reader, document)
    names.mounted(reader, given, document, whole=role == "up")
    cross.check(reader, role, found.common, found.edge, found.vault)
    problems.end()
    return found


def _demand_something(environment: Mapping[str, str], directory: Path) -> None:
    """Spare whoever stands in another folder a list of everything that is not here."""
    named = any(name.startswith(names.PREFIX) for name in environment)
    if not named and not any((directory / file).exists() for file in (".env", FILE)):
        words = f"neither .env nor {FILE}: `ringhook init` writes both, -C names another folder"
        raise Misconfigured(f"There is no configuration in {directory.absolute()}, {words}")


def _read(role: str, reader: Reader, document: Document) -> Settings:
    wanted, common = {**PARTS, **COMMANDS}.get(role, ()), parts.read_common(reader)
    session_s = common.session_s if reader.sound("RINGHOOK_BUS_URL") else LONGEST  # nothing is known of a bus whose URL is wrong
    destinations = lists.read_destinations(document, reader.problems, session_s)
    named = tuple(destination.name for destination, _ in destinations)
    ours = {topic.physical(common.namespace) for topic in declared(named)}
    tokens = lists.read_tokens(document, reader.problems)
    return Settings(
        role=role,
        common=common,
        destinations=named,
        routes=lists.read_routes(document, reader.problems, ours),
        edge=parts.read_edge(reader, signin.read_signin(reader, document), alone=role == "up") if "edge" in wanted else None,
        vault=parts.read_vault(reader) if "vault" in wanted else None,
        waiting=parts.read_waiting(reader) if "dispatch" in wanted else None,
        services=lists.read_services(reader, document, session_s) if "services" in wanted else None,
        admin=_read_admin(reader) if "admin" in wanted else None,
        tokens=tokens if {"admin", "vault"} & set(wanted) else (),
    )


def _read_admin(reader: Reader) -> Admin:
    return Admin(cookies=parts.read_cookies(reader), public_url=parts.read_public_url(reader))
