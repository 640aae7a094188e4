"""`ringhook destinations check`, before anything runs: what is seen of each kind of trouble, and what to do."""

import json
import os
import sys
from asyncio import create_subprocess_exec, subprocess, wait_for
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from deploy.command import reaching
from tests.chaos.world import SECRET, Sink, installation
from tests.workers.deliver.support import destination, served
from workers.deliver import ping
from workers.runtime.secrets import Secret

ONE = """
[[destination]]
name = "{name}"
url = "{url}"
secret_env = "CHAOS_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]
"""


async def check(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, str]:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "destinations", "check", *words),
        cwd=folder,
        env={"PATH": os.defpath, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


@pytest.fixture
async def partner() -> AsyncIterator[str]:
    async def good(request: web.Request) -> web.Response:
        event = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        assert event["type"] == "com.ring.ringhook_ping"
        return web.Response(status=204)

    async def odd(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), text="\x1b[31mno\u202e entry")

    application = web.Application()
    application.router.add_post("/good", good)
    application.router.add_post("/odd/{status}", odd)
    async with served(application) as url:
        yield url


async def test_each_trouble_is_told_with_its_remedy(tmp_path: Path, partner: str) -> None:
    sink = Sink()
    sink.url = f"{partner}/good"
    made = installation(tmp_path, sink)
    port = partner.rsplit(":", 1)[1]
    urls = {
        "stranger": f"{partner}/odd/401",
        "moved": f"{partner}/odd/302",
        "absent": "http://127.0.0.1:9/ring",
        "nameless": "http://nobody.invalid/ring",
        "plain": f"https://127.0.0.1:{port}/good",
    }
    toml = (tmp_path / "ringhook.toml").read_text()
    toml += "".join(ONE.format(name=name, url=url) for name, url in urls.items())
    (tmp_path / "ringhook.toml").write_text(toml)

    code, said = await check(tmp_path, made.environment, "sink")
    assert code == 0, said
    assert "answered 204 in " in said
    assert await check(tmp_path, made.environment, "sinc") == (
        2,
        f"No destination is called 'sinc'; there are: {', '.join(['sink', *urls])}\n",
    )

    code, whole = await check(tmp_path, made.environment)
    assert code == 1
    for words in (
        "answered 401",
        "is the secret the one that it checks with",
        "redirects are not followed",
        "the connection was refused (nothing listens there)",
        "there is no such name",
        "does not speak TLS as asked",
        "it said: \\u001b[31mno\\u202e entry",
    ):
        assert words in whole, (words, whole)
    assert "\x1b" not in whole

    code, out = await check(tmp_path, made.environment, "--json")
    seen = {one["name"]: one for one in json.loads(out)["destinations"]}
    assert (code, seen["sink"]["well"], seen["stranger"]["status"], seen["absent"]["failure"]) == (1, True, 401, "connect")


async def test_an_address_inside_is_told_as_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration refuses what is closed by its spelling; a name may come to lead there."""

    async def addresses(_url: object) -> tuple[str, ...]:
        return ("10.1.2.3", "1.1.1.1")

    monkeypatch.setattr(ping, "_addresses", addresses)
    target = destination("http://127.0.0.1:9/ring", allow_networks=())
    pinged = await ping.ping(target, [Secret(SECRET)], {}, None)
    said = "\n".join(reaching.lines(pinged))
    assert "addresses: 10.1.2.3 (closed), 1.1.1.1" in said
    assert "If it is yours, name it in allow_networks" in said
    assert not reaching.well(pinged)
