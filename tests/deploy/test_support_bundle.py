"""`ringhook support-bundle`: what is in it, and that no secret is."""

import asyncio
import json
import tarfile
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from deploy import bundle, looking
from deploy.command.support_bundle import support_bundle
from deploy.settings.dotenv import parse
from deploy.settings.names import KNOWN
from deploy.settings.problems import Problems
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering
from tests.deploy.judged import PORTAL, installed

CANARY = "canary-client-secret-of-ring"
GIVEN = PORTAL | {"RINGHOOK_RING_CLIENT_SECRET": CANARY}
LETTER = {
    "address": "delivery.alerts.dead:0:3",
    "account": "canary-account",
    "reason": f"refused: {CANARY}",
    "key": "canary-account",
}
ATTEMPT = {
    "destination": "alerts",
    "event": "r1",
    "account": "canary-account",
    "device": "canary-device",
    "answer": "canary-answer",
}
ANSWERS = [
    (200, b'{"steps":[],"findings":[]}'),
    (200, f"ringhook_up 1\n# {CANARY}".encode()),
    (200, orjson.dumps({"deliveries": [ATTEMPT], "scanned": 1, "cut": None})),
    (200, orjson.dumps({"letters": [LETTER], "scanned": 1, "cut": None})),
]
PARTS = {"about.json", "environment.json", "ringhook.json", "doctor.json", "metrics.txt", "failed.json", "dead.json"}


def run(*words: str) -> Result:
    done = CliRunner().invoke(support_bundle, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def held(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {name.removeprefix("ringhook-support/"): archive.extractfile(name) for name in archive.getnames()}
        return {name: file.read().decode() for name, file in files.items() if file}


@pytest.fixture
def folder(port: type[Answering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    where = next(line for line in (tmp_path / ".env").read_text().splitlines() if "INTERNAL_URL" in line)
    installed(tmp_path, GIVEN, more=f"{where}\n")
    monkeypatch.setattr(looking, "look", lambda _base: asyncio.sleep(0, []))
    sent = looking.Probed(id="ringhook-probe-1", status=503)
    monkeypatch.setattr(looking, "probe", lambda _base, _key: asyncio.sleep(0, sent))
    port.answers = list(ANSWERS)
    return tmp_path


def test_it_holds_what_helps_and_no_secret(folder: Path) -> None:
    target = folder / "for-them.tar.gz"
    said = run(str(target)).stdout
    assert all(name in said for name in PARTS)
    assert target.stat().st_mode & 0o777 == 0o600
    parts = held(target)
    assert parts.keys() == PARTS
    whole = "\n".join(parts.values())
    assert "canary" not in whole
    secret = parse((folder / ".env").read_text(), ".env", Problems()).values
    kept = [name for name, value in secret.items() if name not in bundle.SHOWN and len(value.text) > 5 and value.text in whole]
    assert kept == []
    assert json.loads(parts["environment.json"])["RINGHOOK_RING_CLIENT_SECRET"] == bundle.MASKED
    assert "ringhook_up 1" in parts["metrics.txt"]
    assert json.loads(parts["failed.json"])["deliveries"] == [{"destination": "alerts", "event": "r1"}]
    assert json.loads(parts["doctor.json"])["findings"][0]["code"] == "RH-110"


def test_what_ringhook_toml_names_is_masked_though_the_environment_alone_has_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, port: type[Answering]
) -> None:
    (folder / "ringhook.toml").write_text((folder / "ringhook.toml").read_text() + "\n# secret_env = CRM_SECRET\n")
    monkeypatch.setenv("CRM_SECRET", "canary-of-crm")
    monkeypatch.setenv("ELSEWHERE", "of-nobody-here")
    port.answers[1] = (200, b"canary-of-crm of-nobody-here")
    run(str(folder / "b.tar.gz"))
    parts = held(folder / "b.tar.gz")
    assert parts["metrics.txt"] == "(masked) of-nobody-here"
    assert ("CRM_SECRET" in parts["environment.json"], "ELSEWHERE" in parts["environment.json"]) == (True, False)


def test_where_none_runs_it_says_so_and_holds_the_rest(folder: Path, port: type[Answering]) -> None:
    port.answers = [(503, b'{"error":{"message":"Away."}}')] * 4
    run(str(folder / "b.tar.gz"))
    parts = held(folder / "b.tar.gz")
    assert parts["failed.json"].startswith("not to be had: ")
    assert json.loads(parts["about.json"])["ringhook"]


def test_a_file_that_is_there_stays(folder: Path) -> None:
    target = folder / "mine.tar.gz"
    target.write_text("mine")
    with pytest.raises(Misconfigured, match=r"cannot be written: File exists"):
        run(str(target))
    assert target.read_text() == "mine"


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_no_value_is_shown_that_is_not_known_to_be_harmless(name: str) -> None:
    opens = ("SECRET", "KEY", "TOKEN", "PASSCODE", "CLIENT_ID")
    assert not any(word in name for word in opens) or name not in bundle.SHOWN
    shown = bundle.values({name: "postgresql://user:canary@host/db"})[name]
    assert ("canary" in shown) == (name in bundle.SHOWN)


def test_of_the_lists_only_what_says_how_it_works_is_shown() -> None:
    document = {
        "signin": {"kind": "oidc", "issuer": "https://canary.example.com", "client_id": "canary"},
        "token": [{"name": "login", "sha256": "canary", "scopes": ["claim"]}],
        "destination": [{"name": "crm", "url": "https://crm.example.com/canary", "headers": {"X-Key": "canary"}, "rate": 5}],
    }
    told = bundle.lists(document)
    assert "canary" not in json.dumps(told)
    assert told["destination"] == [{"name": "crm", "url": bundle.MASKED, "headers": bundle.MASKED, "rate": 5}]


def test_a_secret_is_masked_wherever_it_stands_in_json_too() -> None:
    url = "postgresql://ringhook:pass%40word@db/ringhook"
    given = {"ALERTS_SECRET": 'whsec_"quoted"', "RINGHOOK_VAULT_KEYS": "k1:AAAABBBB,k2:CCCCDDDD", "RINGHOOK_STORE_URL": url}
    text = json.dumps({"said": 'whsec_"quoted"'}) + " CCCCDDDD AAAABBBB pass@word pass%40word"
    assert bundle.cleaned(text, bundle.secrets(given)) == '{"said": "(masked)"} (masked) (masked) (masked) (masked)'
