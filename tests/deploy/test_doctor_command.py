"""`ringhook doctor`: what it makes of the configuration, of the public URLs, and of what a running ringhook says."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from deploy import looking
from deploy.command.doctor import doctor
from schemas.findings.reach import UNTRUSTED
from tests.deploy.conftest import Answering
from tests.deploy.judged import PORTAL, installed
from tests.workers.deliver.certificates import Authority
from tests.workers.deliver.support import served

STEPS = [
    {"name": "code", "words": "Ring posts a code", "at": "2026-02-13T13:39:57+00:00", "next": False},
    {"name": "tokens", "words": "ringhook exchanges it", "at": None, "next": True},
    {"name": "account", "words": "Ring says whose", "at": None, "next": False},
]
FINDING = {
    "code": "RH-203",
    "title": "Ring did not accept a code",
    "seen": "The newest code \x1b[31m is rejected.",
    "means": "It was used before.",
    "do": ["Connect again."],
    "hinders": ["An old page."],
    "sure": "possible",
}


HELD = (200, b'{"event":"ringhook-probe-1","life":[]}')
UNKNOWN = (404, b'{"error":{"message":"Nothing is known under this id."}}')


def run(*words: str) -> Result:
    done = CliRunner().invoke(doctor, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def configured(port: type[Answering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Answering]:
    """A whole configuration, and a running ringhook that has its answers by heart."""
    where = next(line for line in (tmp_path / ".env").read_text().splitlines() if "INTERNAL_URL" in line)
    installed(tmp_path, PORTAL, more=f"{where}\n")
    seen = [looking.Looked(name="Webhook URL", url="https://ring.example.com/ring/webhook", status=200, ours=True, took=0.02)]
    sent = looking.Probed(id="ringhook-probe-1", status=200, took=0.012)
    monkeypatch.setattr(looking, "look", lambda _base: asyncio.sleep(0, seen))
    monkeypatch.setattr(looking, "probe", lambda _base, _key: asyncio.sleep(0, sent))
    return port


def test_the_steps_and_the_findings_are_lines(configured: type[Answering]) -> None:
    configured.answers = [UNKNOWN, HELD, (200, orjson.dumps({"steps": STEPS, "findings": [FINDING]}))]
    said = run()
    assert said.exit_code == 1
    lines = said.stdout.splitlines()
    assert lines[:3] == [
        "The configuration of up is complete.",
        "Webhook URL: https://ring.example.com/ring/webhook  answered 200 in 20 ms",
        "A signed webhook: answered 200 in 12 ms, and read back from the bus",
    ]
    assert lines[4:7] == [
        "  [x] 1. Ring posts a code  (2026-02-13 13:39:57Z)",
        "  [>] 2. ringhook exchanges it  (next)",
        "  [ ] 3. Ring says whose",
    ]
    assert lines[8:] == [
        "RH-203  Ring did not accept a code (possible)",
        "  Seen: The newest code \\u001b[31m is rejected.",
        "  It was used before.",
        "  - Connect again.",
        "  Usually in the way:",
        "  * An old page.",
    ]


def test_where_nothing_is_missing_it_says_so_and_ends_well(configured: type[Answering]) -> None:
    done = [step | {"at": STEPS[0]["at"], "next": False} for step in STEPS]
    configured.answers = [HELD, (200, orjson.dumps({"steps": done, "findings": []}))]
    said = run()
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (0, "Nothing is missing, and nothing is wrong.")


def test_as_json_it_is_one_object(configured: type[Answering]) -> None:
    configured.answers = [HELD, (200, orjson.dumps({"steps": STEPS, "findings": [FINDING]}))]
    said = run("--json")
    told = json.loads(said.stdout)
    assert (said.exit_code, told["well"], told["problems"], told["steps"]) == (1, False, [], STEPS)
    assert [one["code"] for one in told["findings"]] == ["RH-203"]
    assert told["urls"][0]["ours"] is True


def test_a_configuration_with_problems_is_told_and_nothing_is_asked(configured: type[Answering], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RINGHOOK_RING_RATE=loud\n")
    said = run()
    assert said.exit_code == 1
    assert said.stdout.startswith("The configuration of up is not complete:\n")
    assert "RINGHOOK_RING_RATE: is not a number" in said.stdout
    assert not configured.asked


def test_where_none_runs_the_rest_is_told(configured: type[Answering]) -> None:
    configured.answers = [(503, b'{"error":{"message":"Try again."}}')] * 2
    said = run()
    assert said.exit_code == 1
    assert "A signed webhook: answered 200 in 12 ms\n" in said.stdout
    assert "What has happened so far is known to a running ringhook alone: " in said.stdout


def test_a_webhook_that_another_installation_took_is_told(configured: type[Answering], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.command.doctor.READ_BACK_S", 0.0)
    configured.answers = [UNKNOWN, (200, orjson.dumps({"steps": STEPS, "findings": []}))]
    said = run()
    assert "answered 200 in 12 ms, and not found on the bus" in said.stdout
    assert "RH-111  Another installation answers at the public URL (likely)" in said.stdout


@pytest.fixture
async def front() -> AsyncIterator[str]:
    """Something that answers like ringhook at one door, like another service at one, and sends on from the third."""

    async def exchange(_request: web.Request) -> web.Response:
        return web.Response(text="This is ringhook's Token Exchange URL. Ring posts here; there is nothing to see.\n")

    async def moved(_request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": "https://www.example.com/"})

    async def another(_request: web.Request) -> web.Response:
        return web.Response(text="It works!")

    application = web.Application()
    application.router.add_get("/ring/token-exchange", exchange)
    application.router.add_route("*", "/ring/account-link", moved)
    application.router.add_get("/ring/webhook", another)
    async with served(application) as url:
        yield url


async def test_the_public_urls_are_seen_as_they_answer(front: str) -> None:
    exchange, link, webhook = await looking.look(front)
    assert (exchange.status, exchange.ours, exchange.location) == (200, True, None)
    assert (link.status, link.ours, link.location) == (301, False, "https://www.example.com/")
    assert (webhook.status, webhook.ours) == (200, False)
    (absent, *_) = await looking.look("http://127.0.0.1:9")
    assert absent.obstacle == "the connection was refused (nothing listens there)"


async def test_a_name_that_is_none_and_a_certificate_that_nobody_vouches_for_are_told_as_what_they_are(tmp_path: Path) -> None:
    (nameless, *_) = await looking.look("https://nobody.invalid")
    assert nameless.obstacle == "there is no such name"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*Authority(tmp_path, "stranger").vouch("front"))
    async with served(web.Application(), tls=server) as url:
        (strange, *_) = await looking.look(url)
    assert strange.obstacle is not None
    assert strange.obstacle.startswith("its certificate is not accepted (")
    assert UNTRUSTED in strange.obstacle
