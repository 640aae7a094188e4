"""The TLS files that a `[[destination]]` names: read, put together, and everything wrong with them told by key and line."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deploy.settings.source import Reader
from deploy.settings.text import read_broken
from deploy.settings.toml import Table
from workers.deliver import tls

T = TypeVar("T")


def read_tls(reader: Reader, entry: Table) -> ssl.SSLContext | None:
    """Return what `ca_file`, `cert_file` and `key_file` ask for, None where none is named; what is wrong is noted."""
    named = {key: reader.located(path) for key in tls.KEYS if (path := entry.text(key))}
    if not named:
        return None
    authorities, certificate = named.get("ca_file"), named.get("cert_file")
    believed = _sound(reader, entry, "ca_file", authorities, tls.believing) if authorities else None
    context = believed or tls.trusting()
    if certificate:
        _identify(reader, entry, context, certificate, named.get("key_file"))
    return context


def _identify(reader: Reader, entry: Table, context: ssl.SSLContext, certificate: Path, other: Path | None) -> None:
    """Let us be known by a certificate; its key may stand in the same file."""
    holder, key = ("key_file", other) if other else ("cert_file", certificate)
    sound = [
        _sound(reader, entry, "cert_file", certificate, tls.certificate),
        _sound(reader, entry, holder, key, tls.private_key),
    ]
    if all(sound):
        _sound(reader, entry, holder, key, lambda _: tls.identify(context, certificate, key))


def _sound(reader: Reader, entry: Table, key: str, path: Path, check: Callable[[str], T]) -> T | None:
    """Return what a check makes of a file; what is wrong with that is noted."""
    try:
        return check(_text(path))
    except ValueError as error:
        reader.problems.add(entry.where(key), f"{key}: {error}")
        return None


def _text(path: Path) -> str:
    """Return a file's text; where it is none (DER), nothing will be found in it."""
    try:
        return read_broken(path)
    except FileNotFoundError as error:
        raise ValueError("cannot be read: No such file or directory") from error
