"""`ringhook keys`: the file it changes, the words it says, and what it refuses."""

import asyncio
import json
import os
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from deploy import migrations
from deploy.command import ringhook
from deploy.settings import rewrite
from linker.held import columns_of
from linker.rows import Grant
from linker.sealed import Sealed
from linker.tables import grants
from linker.vault import Vault
from schemas.errors import Misconfigured
from workers.runtime.database import connect
from workers.runtime.sealing import Keyring, generate_key

NAME = "RINGHOOK_VAULT_KEYS"
OLD = generate_key("k1")
SECRET = OLD.partition(":")[2]
ENV = f"# keep me\r\nOTHER=1\n  export {NAME} = '{OLD}'\n# and me\nRINGHOOK_STORE_URL=sqlite:///store.db"


class Installation:
    """A folder with .env, and the command in it."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.directory, self.file = directory, directory / ".env"
        self.file.write_bytes(ENV.encode() if not url else ENV.replace("sqlite:///store.db", url).encode())
        self.file.chmod(0o644)
        (directory / "ringhook.toml").touch()
        self.url = url or f"sqlite:///{directory}/store.db"

    def run(self, *words: str, **environment: str) -> str:
        """Run `ringhook keys …`; return what it said, or raise what ended it."""
        here = Path.cwd()
        try:
            result = CliRunner().invoke(ringhook, ["keys", *words, "-C", str(self.directory)], env=environment)
        finally:
            os.chdir(here)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert SECRET not in result.output
        return result.output

    def refused(self, *words: str) -> str:
        before = self.file.read_bytes()
        with pytest.raises(Misconfigured) as refused:
            self.run(*words)
        assert self.file.read_bytes() == before
        assert SECRET not in str(refused.value)
        return str(refused.value)

    @property
    def ring(self) -> Keyring:
        line = next(line for line in self.file.read_text().split("\n") if NAME in line)
        return Keyring.parse(line.partition("=")[2].strip())

    def store(self, links: int, key: str = OLD) -> None:
        """Make the store, with links sealed by a key."""
        asyncio.run(self._store(links, Vault(Keyring.parse(key), "ringhook")))

    async def _store(self, links: int, vault: Vault) -> None:
        await migrations.upgrade(self.url)
        async with connect(self.url) as database, database.begin() as connection:
            for number in range(links):
                grant = Grant(app="first", code_hash=str(number), received_at=1.0, generation=1, due_at=None, stage="rest")
                sealed = replace(grant, access=vault._seal(grant, "access", "token"))
                await connection.execute(grants.insert().values(**columns_of(sealed)))

    def sealing(self, key: str) -> None:
        """Let a linker say that it seals with this key."""
        asyncio.run(self._sealing(key))

    async def _sealing(self, key: str) -> None:
        async with connect(self.url) as database:
            await Sealed(database).prove({key: b""})
            await Sealed(database).sealing(key)


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_keys_are_named_in_order_and_never_shown(made: Installation) -> None:
    made.run("add", "k2")
    assert made.run("list").splitlines()[1:] == ["  k1  seals and opens", "  k2  opens"]
    assert json.loads(made.run("list", "--json")) == {"keys": ["k1", "k2"], "where": ".env:3"}


def test_a_change_touches_one_value_and_leaves_the_file_to_its_owner_alone(made: Installation) -> None:
    said = made.run("add", "k2")
    assert "Once all of them know it, `ringhook keys rotate k2`" in said
    new = made.ring
    assert new.ids == ("k1", "k2")
    kept = made.file.read_bytes().split(b"\n")
    before = ENV.encode().split(b"\n")
    assert [one for one, other in zip(kept, before, strict=True) if one != other] == [kept[2]]
    assert kept[2].startswith(f"  export {NAME} = {OLD},k2:".encode())
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert {path.name for path in made.directory.iterdir()} == {".env", "ringhook.toml"}


def test_rotate_lets_a_new_key_seal_or_one_that_was_added(made: Installation) -> None:
    said = made.run("rotate")
    first, second = made.ring.ids
    assert (second, "`ringhook keys retire k1`" in said) == ("k1", True)
    made.run("add", "k3")
    made.run("rotate", "k3")
    assert made.ring.ids == ("k3", first, "k1")
    assert "seals already" in made.refused("rotate", "k3")


def test_the_id_of_a_new_key_never_comes_twice(made: Installation) -> None:
    for _ in range(3):
        made.run("add")
    assert len({*made.ring.ids}) == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "k1"), "there already"),
        (("add", "k:1"), "1 to 32 letters"),
        (("rotate", "k2"), "called 'k2' (there are k1): `ringhook keys add k2` makes it. Nothing was changed"),
        (("retire", "k9"), "no key of RINGHOOK_VAULT_KEYS is called 'k9'"),
        (("retire", "k1"), "the key that seals"),
    ],
)
def test_what_cannot_be_is_refused_in_words(made: Installation, words: tuple[str, ...], expected: str) -> None:
    assert expected in made.refused(*words)


def test_keys_that_stand_elsewhere_are_described_and_not_written(made: Installation, tmp_path: Path) -> None:
    before = made.file.read_bytes()
    said = made.run("rotate", **{NAME: OLD})
    assert re.search("stands in the environment, which only you can change: put before what is there:\n  [^:]+:", said)
    mounted = tmp_path / "mounted"
    mounted.write_text(f"{OLD}\n")
    made.file.write_text(f"{NAME}_FILE=mounted\n")
    assert "mounted, which only you can change: append to it:\n  ,k2:" in made.run("add", "k2")
    assert mounted.read_text() == f"{OLD}\n"
    assert before.count(b"k2") == 0


@pytest.fixture
def stored(tmp_path: Path, store_url: str) -> Installation:
    return Installation(tmp_path, store_url)


def test_a_key_goes_only_when_nothing_needs_it(stored: Installation) -> None:
    assert "run `ringhook migrate`" in _after_rotation(stored).refused("retire", "k1")
    stored.store(links=2)
    assert "it seals the tokens of 2 links" in (refusal := stored.refused("retire", "k1"))
    assert ".." not in refusal
    status = json.loads(stored.run("status", "--json"))["keys"]
    assert [(line["key"], line["links"], line["seals"]) for line in status] == [("k2", 0, True), ("k1", 2, False)]
    assert "being sealed again" in stored.run("status")
    asyncio.run(_forget(stored.url))
    stored.sealing("k1")
    assert re.search(r"a linker sealed with it \d+ s ago", stored.refused("retire", "k1"))
    asyncio.run(_forget(stored.url))
    assert "may be retired" in stored.run("status")
    assert "backup of the store from before" in stored.run("retire", "k1")
    assert stored.ring.ids == ("k2",)


def test_a_key_that_rows_need_and_nobody_has_is_named(stored: Installation) -> None:
    stored.store(links=1, key=generate_key("lost"))
    assert "lost                         1 links  NOT in RINGHOOK_VAULT_KEYS: put it back" in stored.run("status")


def _after_rotation(made: Installation) -> Installation:
    made.run("add", "k2")
    made.run("rotate", "k2")
    return made


async def _forget(url: str) -> None:
    async with connect(url) as database, database.begin() as connection:
        await connection.execute(grants.delete())
        await connection.exec_driver_sql("update linker_vault_keys set seen_at = 0")


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(made: Installation) -> None:
    with pytest.raises(Misconfigured, match="does not hold RINGHOOK_VAULT_KEYS= any more"):
        rewrite.set_value(made.file, 2, NAME, "new")
    assert made.file.read_bytes() == ENV.encode()


def test_a_link_stays_a_link_and_its_file_is_changed(made: Installation, tmp_path: Path) -> None:
    real = tmp_path / "secrets.env"
    made.file.rename(real)
    made.file.symlink_to(real)
    made.run("add", "k2")
    assert made.file.is_symlink()
    assert b",k2:" in real.read_bytes()


def test_a_folder_that_cannot_be_written_is_a_sentence(made: Installation) -> None:
    made.file.with_name(".env.new").mkdir()
    assert "cannot be rewritten" in made.refused("add", "k2")
