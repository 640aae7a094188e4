"""An OIDC issuer on loopback that does as it should, until a test makes it do otherwise."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from joserfc import jwk, jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

Claims = dict[str, Any]
CLIENT, SECRET = "ringhook", "s3cret of the client"


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Willing(jws.JWSRegistry):
    """Signs with any algorithm that joserfc knows, and any header."""

    def get_alg(self, name: str) -> jws.JWSAlgModel:
        return self.algorithms[name]

    def check_header(self, header: dict[str, Any]) -> None:
        pass


def compact(header: dict[str, Any], claims: Claims, key: jwk.Key) -> str:
    return sign(header, json.dumps(claims).encode(), key)


def sign(header: dict[str, Any], payload: bytes, key: jwk.Key) -> str:
    return jws.serialize_compact(header, payload, key, registry=Willing())


def unsigned(claims: Claims) -> str:
    return ".".join([b64(json.dumps({"alg": "none"}).encode()), b64(json.dumps(claims).encode()), ""])


def by_public_key(claims: Claims) -> str:
    """The old trick: an HMAC whose secret is what everybody may know, the public key; joserfc refuses to do this."""
    text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k1"}, claims))
    return f"{text}.{b64(hmac.digest(SHARED_RSA.as_pem(private=False), text.encode(), 'sha256'))}"


@dataclass
class Issuer:
    """Signs `sub` in at once wherever a browser is sent to it; notes what it was asked."""

    url: str = ""
    sub: str = "248289761001"
    email: object = "user@example.com"
    alg: str = "RS256"
    key: Any = None
    kid: str | None = "k1"
    methods: list[str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # of the metadata
    twist: Callable[[Claims], None] = lambda _claims: None
    forge: Callable[[Claims], str] | None = None
    token_answer: Callable[[web.Request], Any] | None = None
    metadata_answer: Callable[[web.Request], Any] | None = None
    published: list[Any] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[tuple[dict[str, str], str]] = field(default_factory=list)
    now: Callable[[], float] = time.time
    padding: int = 0  # bytes after each answer that are its own

    def rotate(self, kid: str | None) -> None:
        self.key, self.kid = KEYS[self.alg](), kid
        self.published = [self.key]

    def authorize(self, location: str) -> tuple[str, str]:
        """Sign in where the browser was sent; return the code and the state."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = f"code-{len(self.codes)}-{time.monotonic_ns()}"
        self.codes[code] = query
        return code, query["state"]

    def callback(self, location: str, **changes: str) -> str:
        """Return the path to which the browser comes back."""
        code, state = self.authorize(location)
        return "/ring/account-link/callback?" + urlencode({"code": code, "state": state} | changes)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("metadata")
        if self.metadata_answer:
            return await self.metadata_answer(request)
        found = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        if self.methods is not None:
            found["token_endpoint_auth_methods_supported"] = self.methods
        return self._padded({**found, **self.extra})

    def _padded(self, found: object) -> web.Response:
        return web.Response(text=json.dumps(found) + " " * self.padding, content_type="application/json")

    async def moved(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("moved")
        self.metadata_answer = self.token_answer = None
        return await (self.metadata(request) if request.method == "GET" else self.token(request))

    async def keys(self, _request: web.Request) -> web.StreamResponse:
        self.asked.append("keys")
        published = [key.as_dict(private=False) for key in self.published]
        return web.json_response({"keys": [{**key, "kid": self.kid} if self.kid else key for key in published]})

    async def token(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("token")
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append((form, request.headers.get("Authorization", "")))
        if self.token_answer:
            return await self.token_answer(request)
        query = self.codes.pop(form["code"], None)
        if query is None or b64(sha256(form["code_verifier"].encode()).digest()) != query["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return self._padded({"token_type": "Bearer", "access_token": "at", "id_token": self.id_token(query)})

    def id_token(self, query: dict[str, str]) -> str:
        now = int(self.now())
        claims: Claims = {
            "iss": self.url,
            "sub": self.sub,
            "aud": query["client_id"],
            "exp": now + 300,
            "iat": now,
            "auth_time": now,
            "nonce": query["nonce"],
        }
        if self.email is not None:
            claims["email"] = self.email
        self.twist(claims)
        if self.forge:
            return self.forge(claims)
        return compact({"alg": self.alg} | ({"kid": self.kid} if self.kid else {}), claims, self.key)


KEYS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: RSAKey.generate_key(2048),
    "PS256": lambda: RSAKey.generate_key(2048),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
}
SHARED_RSA = RSAKey.generate_key(2048)  # making one takes a tenth of a second


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    issuer = Issuer(key=SHARED_RSA, published=[SHARED_RSA])
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", issuer.metadata)
    application.router.add_get("/keys", issuer.keys)
    application.router.add_post("/token", issuer.token)
    application.router.add_route("*", "/moved", issuer.moved)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
