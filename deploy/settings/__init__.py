"""The configuration as each part needs it, read from named values and `ringhook.toml`; everything wrong is told together."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy.settings import parts
from deploy.settings.schema import RinghookToml
from deploy.settings.source import Problems, Reader, gather
from deploy.settings.toml import Document, load, unknown_tables
from deploy.settings.values import path
from ingress.settings import Token
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
TABLES: Final = RinghookToml.__struct_fields__


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """What `/v1` is told: who may call it, and the keys of tickets."""

    tokens: tuple[Token, ...]
    cookies: Keyring
    public_url: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One role's configuration; what the role does not run is None."""

    role: str
    common: parts.Common
    destinations: tuple[str, ...]
    edge: parts.Edge | None = None
    vault: parts.Vault | None = None
    dispatch: bool = False
    services: tuple[parts.Service, ...] | None = None
    admin: Admin | None = None


def read(role: str, environment: Mapping[str, str], directory: Path) -> Settings:
    """Return what the role needs, or raise Misconfigured with every problem, each with its place."""
    problems = Problems()
    reader = Reader(gather(environment, directory), directory, problems)
    document = load(directory / reader.default("RINGHOOK_CONFIG", path, "ringhook.toml"), problems)
    unknown_tables(document, TABLES, problems)
    settings = _read(role, reader, document)
    problems.end()
    return settings


def _read(role: str, reader: Reader, document: Document) -> Settings:
    wanted = PARTS[role]
    return Settings(
        role=role,
        common=parts.read_common(reader),
        destinations=parts.destination_names(document),
        edge=parts.read_edge(reader, document) if "edge" in wanted else None,
        vault=parts.read_vault(reader) if "vault" in wanted else None,
        dispatch="dispatch" in wanted,
        services=parts.read_services(reader, document) if "services" in wanted else None,
        admin=_read_admin(reader, document) if "admin" in wanted else None,
    )


def _read_admin(reader: Reader, document: Document) -> Admin:
    return Admin(
        tokens=parts.read_tokens(document, reader.problems),
        cookies=parts.read_cookies(reader),
        public_url=parts.read_public_url(reader),
    )
