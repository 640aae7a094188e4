"""`ringhook keys list|status|add|rotate|retire`: the vault's keys, which seal the tokens of every account."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from deploy import engines, roles
from deploy.command.directory import DIRECTORY
from deploy.command.facts import JSON
from deploy.settings import keyring, rewrite
from deploy.settings.keyring import Ring
from deploy.settings.parts import Common
from linker.sealed import AWAKE, Key, Sealed
from schemas.errors import Misconfigured
from workers.runtime.sealing import generate_key, is_id, new_id
from workers.runtime.storefault import StoreUnavailable

NAME: Final = "RINGHOOK_VAULT_KEYS"
DOTENV: Final = ".env"
PLACES: Final = {"environment": "the environment"}
RESTART: Final = "Restart what seals with it: `ringhook up`, or every `ringhook linker`."
STATUS: Final = "`ringhook keys status` says how far it is."
ID: Final = click.argument("name", metavar="ID")
NEW_ID: Final = click.argument("name", metavar="[ID]", required=False)


@click.group()
def keys() -> None:
    """Change the keys that seal tokens, while traffic runs. What a key sealed is lost with it: keep a copy of .env."""


@keys.command(name="list")
@JSON
@DIRECTORY
def show(directory: Path, *, as_json: bool) -> None:
    """Name the keys of RINGHOOK_VAULT_KEYS in order: the first seals, all open. No key is shown."""
    ring = _ring(directory)
    if as_json:
        click.echo(json.dumps({"keys": list(ring.ids), "where": ring.where}))
        return
    click.echo(f"{ring.where} holds {NAME}:")
    for place, name in enumerate(ring.ids):
        click.echo(f"  {name}  {'opens' if place else 'seals and opens'}")


@keys.command()
@JSON
@DIRECTORY
def status(directory: Path, *, as_json: bool) -> None:
    """Say how many links each key still seals, and which key linkers seal with now."""
    lines = standing(_ring(directory).ids, *_ask(directory))
    click.echo(json.dumps({"keys": lines}) if as_json else "\n".join(words(line) for line in lines))


@keys.command()
@NEW_ID
@DIRECTORY
def add(directory: Path, name: str | None) -> None:
    """Make a new key that opens and does not seal yet: the first of two deploys, where several linkers run."""
    ring = _ring(directory)
    made = generate_key(_new(ring, name))
    _change(
        directory,
        ring,
        [*ring.parts, made],
        aside=f"append to it:\n  ,{made}",
        then=f"{RESTART} Once all of them know it, `ringhook keys rotate {made.partition(':')[0]}` lets it seal.",
    )


@keys.command()
@NEW_ID
@DIRECTORY
def rotate(directory: Path, name: str | None) -> None:
    """Let another key seal: ID, which was added before, or without one a new key. Every token is then sealed again under it."""
    ring = _ring(directory)
    if name:
        if name not in ring.ids:
            there = f"{name!r} (there are {', '.join(ring.ids)})"
            raise Misconfigured(f"no key of {NAME} is called {there}: `ringhook keys add {name}` makes it. Nothing was changed")
        if name == ring.ids[0]:
            raise Misconfigured(f"{name} seals already: nothing was changed")
        made, aside = ring.part(name), f"move the part that begins with {name}: to its beginning"
    else:
        made = generate_key(_new(ring, None))
        aside = f"put before what is there:\n  {made},"
    rest = [part for part in ring.parts if part != made]
    then = f"{RESTART} It then seals every token again, while traffic runs. {STATUS} Then: `ringhook keys retire {ring.ids[0]}`."
    _change(directory, ring, [made, *rest], aside=aside, then=then)


@keys.command()
@ID
@DIRECTORY
def retire(directory: Path, name: str) -> None:
    """Take a key out that seals nothing any more; refused while any token needs it."""
    ring = _ring(directory)
    if name not in ring.ids:
        raise Misconfigured(f"no key of {NAME} is called {name!r} (there are {', '.join(ring.ids)}): nothing was changed")
    if name == ring.ids[0]:
        raise Misconfigured(f"{name} is the key that seals: `ringhook keys rotate` first. Nothing was changed")
    if why := needed(name, *_ask(directory)):
        raise Misconfigured(f"{name} is still needed: {why.removesuffix('.')}. Nothing was changed")
    rest = [part for part in ring.parts if part != ring.part(name)]
    then = (
        f"{RESTART} A backup of the store from before may still hold tokens under {name}: keep the key beside such a backup "
        "for as long as you keep that."
    )
    _change(directory, ring, rest, aside=f"take out the part that begins with {name}:", then=then)


def needed(name: str, counts: Mapping[str, int], known: Mapping[str, Key]) -> str | None:
    """Say why a key may not go yet, or None."""
    if rows := counts.get(name, 0):
        return f"it seals the tokens of {rows} link{'s' * (rows > 1)}. {STATUS}"
    key = known.get(name)
    if key and key.seen_ago is not None and key.seen_ago < AWAKE:
        return f"a linker sealed with it {key.seen_ago:.0f} s ago. Restart every linker, wait {AWAKE:.0f} s, and try again"
    return None


def standing(ids: Sequence[str], counts: Mapping[str, int], known: Mapping[str, Key]) -> list[dict[str, object]]:
    """Return a line of facts for each key that is configured or needed."""
    return [
        {
            "key": name,
            "links": counts.get(name, 0),
            "configured": name in ids,
            "seals": name == ids[0],
            "sealed_with_s_ago": round(key.seen_ago) if (key := known.get(name)) and key.seen_ago is not None else None,
        }
        for name in (*ids, *(name for name in counts if name not in ids))
    ]


def words(line: Mapping[str, object]) -> str:
    """Return a key's line as people read it."""
    if not line["configured"]:
        does = f"NOT in {NAME}: put it back, or the users of these links must connect again"
    elif line["seals"]:
        does = "seals"
    elif line["links"] == 0:
        does = "opens; a linker that was not restarted since seals with it" if _awake(line) else "may be retired"
    else:
        does = "opens; what it sealed is being sealed again under the first, by linkers that were restarted since"
    used = f" (a linker sealed with it {line['sealed_with_s_ago']} s ago)" if _awake(line) else ""
    return f"{line['key']:<20} {line['links']:>9} links  {does}{used}"


def _awake(line: Mapping[str, object]) -> bool:
    ago = line["sealed_with_s_ago"]
    return isinstance(ago, int) and ago < AWAKE


def _ring(directory: Path) -> Ring:
    return keyring.read(NAME, os.environ, directory)


def _new(ring: Ring, name: str | None) -> str:
    if name is None:
        return new_id(datetime.now(UTC).date().isoformat())
    if not is_id(name):
        raise Misconfigured("a key's id is 1 to 32 letters, digits, - or _: nothing was changed")
    if name in ring.ids:
        raise Misconfigured(f"{name} is there already: nothing was changed")
    return name


def _change(directory: Path, ring: Ring, parts: Sequence[str], *, aside: str, then: str) -> None:
    """Write the keys where `.env` holds them; where something else does, say what to do there."""
    text = keyring.joined(parts)
    file, _, line = ring.where.rpartition(":")
    if file != DOTENV:
        click.echo(f"{NAME} stands in {PLACES.get(ring.where, ring.where)}, which only you can change: {aside}\n\n{then}")
        return
    rewrite.set_value(directory / DOTENV, int(line), NAME, text)
    click.echo(f"{DOTENV} now has {', '.join(part.partition(':')[0] for part in parts)}.\n{then}")


def _ask(directory: Path) -> tuple[Mapping[str, int], Mapping[str, Key]]:
    """Return how many links each key seals, and what the store knows of keys."""
    return asyncio.run(_asked(roles.configured("keys", directory).common))


async def _asked(common: Common) -> tuple[Mapping[str, int], Mapping[str, Key]]:
    try:
        with engines.refusals():
            await engines.migrated(common)
            async with engines.open_store(common) as store:
                sealed = Sealed(store)
                return await sealed.counts(await sealed.in_use()), await sealed.known()
    except StoreUnavailable as error:
        raise Misconfigured(f"{error}. Nothing was changed") from error
