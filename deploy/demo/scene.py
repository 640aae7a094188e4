"""The demo's world: a simulated Ring, a partner with a login page and two services, and ringhook between them."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from deploy.demo import partner
from deploy.demo.installation import Installation
from deploy.demo.partner import Login, Service
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Client
from workers.runtime.sealing import generate_code_keys, generate_key

FAILURES: Final = 2  # how often the alerts service refuses before it accepts
USER: Final = ("ada", "demo-password")
TOML: Final = """
[signin]
kind = "handoff"
login_url = "{login}/login"

[[token]]
name = "login"
sha256 = "{token}"
scopes = ["claim", "read"]

[[destination]]
name = "alerts"
url = "{alerts}/ring"
secret_env = "ALERTS_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]

[[destination]]
name = "archive"
url = "{archive}/ring"
secret_env = "ARCHIVE_SECRET"
key = "account"
allow_http = true
allow_networks = ["127.0.0.0/8"]
deliver_unlinked = true
"""


@dataclass(frozen=True)
class Scene:
    """Everything that plays a part."""

    ring: Ring
    made: Installation
    login: str
    token: str
    alerts: Service
    archive: Service


def secret() -> str:
    """Return a new signing secret of a destination."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@asynccontextmanager
async def opened(directory: Path, *, roles: Sequence[str] = ("up",), toml: str = TOML, **more: str) -> AsyncIterator[Scene]:
    """Start all of them, ringhook as these roles, with `more` in its environment and `toml` as its file, for a block."""
    alerts, archive = Service(secret(), failures=FAILURES), Service(secret())
    login = Login("", secrets.token_urlsafe(16), dict([USER]))
    client = Client("demo-client", secrets.token_hex(16), secrets.token_hex(32))
    async with AsyncExitStack() as stack:
        pages = [partner.application(service) for service in (alerts, archive)] + [partner.application(login=login)]
        urls = await asyncio.gather(*(stack.enter_async_context(partner.serve(page)) for page in pages))
        toml = toml.format(alerts=urls[0], archive=urls[1], login=urls[2], token=sha256(login.token.encode()).hexdigest())
        exchange = secrets.token_urlsafe(24)
        made = Installation(directory, environment(client, exchange, alerts, archive) | more, toml)
        judge = await stack.enter_async_context(running(_partner(made.public, exchange), client, lapse=20))
        made.environment |= {"RINGHOOK_RING_API_URL": judge.url, "RINGHOOK_RING_OAUTH_URL": judge.url}
        if roles != ("up",):
            await made.prepare()
        for role in roles:
            made.add(role)
        login.api = made.internal
        await stack.enter_async_context(made.started())
        yield Scene(judge, made, urls[2], login.token, alerts, archive)


def _partner(public: str, exchange: str) -> Partner:
    return Partner(f"{public}/ring/token-exchange/{exchange}", f"{public}/ring/webhook", f"{public}/ring/account-link")


def environment(client: Client, exchange: str, alerts: Service, archive: Service) -> dict[str, str]:
    """Return what `.env` would hold."""
    public, private = generate_code_keys()
    return {
        "RINGHOOK_RING_CLIENT_ID": client.client_id,
        "RINGHOOK_RING_CLIENT_SECRET": client.client_secret,
        "RINGHOOK_RING_HMAC_KEY": client.hmac_key,
        "RINGHOOK_EXCHANGE_SECRET": exchange,
        "RINGHOOK_VAULT_KEYS": generate_key(),
        "RINGHOOK_COOKIE_KEYS": generate_key(),
        "RINGHOOK_CODE_PUBLIC_KEY": public,
        "RINGHOOK_CODE_PRIVATE_KEYS": private,
        "ALERTS_SECRET": alerts.secret,
        "ARCHIVE_SECRET": archive.secret,
    }
