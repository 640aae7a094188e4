"""OIDC providers that others wrote, on loopback."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from deploy.local import ports
from deploy.local.process import Process

CLIENT, SECRET = "ringhook", "the client's secret"


@asynccontextmanager
async def mock() -> AsyncIterator[str]:
    """Run PyPI's oidc-provider-mock; give its issuer."""
    (port,) = ports.free(1)
    command = (sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "True")
    async with process("issuer", command, f"http://127.0.0.1:{port}", {"AUTHLIB_INSECURE_TRANSPORT": "1"}) as issuer:
        yield issuer


@asynccontextmanager
async def process(name: str, command: Sequence[str], issuer: str, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """Run a provider for a block; it is there once its metadata are."""
    server = Process(name)
    server.launch(command, {**os.environ, **environment})
    try:
        async with aiohttp.ClientSession() as client:
            await server.ready(lambda: _answers(client, f"{issuer}/.well-known/openid-configuration"), within=30)
        yield issuer
    finally:
        await server.stop(signal.SIGTERM)
        server.remove()


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False


def signin(issuer: str) -> str:
    """Return the keys of `[signin]` for an issuer on this machine."""
    return f"""\
kind = "oidc"
issuer = "{issuer}"
client_id = "{CLIENT}"
client_secret_env = "ISSUER_SECRET"
allow_networks = ["127.0.0.0/8"]
"""
