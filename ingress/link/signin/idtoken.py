"""ID tokens: which are believed, and whom they name. Pure; the sole importer of joserfc.

Source: openid.net/specs/openid-connect-core-1_0.html, 3.1.3.7.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError

from schemas.errors import UNREADABLE, Rejected

SKEW_S: Final = 60  # how far the issuer's clock may be from ours
# allowed signatures and the keys they need; a secret that both sides know signs nothing here, and "none" is no signature
ALGORITHMS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", frozenset[str]())),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
    "Ed25519": ("OKP", frozenset({"Ed25519"})),
}
_RSA_BITS: Final = range(2048, 8192 + 1)
_LONGEST_SUBJECT: Final = 255
_Kinds = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class UnknownKey(Rejected):
    """The token is signed with a key that was not among the issuer's when they were read."""


class Key(msgspec.Struct, frozen=True):
    """One of the issuer's public keys, and what it may be used for."""

    kid: str | None
    kty: str
    crv: str | None
    alg: str | None
    key: Any  # joserfc's


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say to be the answer to this browser's question."""

    issuer: str
    client_id: str
    nonce: str
    asked: datetime  # when the browser was sent to sign in: an older sign-in does not count


class Claims(msgspec.Struct, frozen=True):
    """What a token says; who wrote it is known before this is read."""

    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: float
    iat: float
    nonce: str = ""
    nbf: float | None = None
    auth_time: float | None = None
    azp: str | None = None
    email: Any = None
    email_verified: Any = None


class _Quiet(jws.JWSRegistry):
    """joserfc's registry, without a word about names that a newer RFC prefers; which are allowed was asked before."""

    max_header_length = 8 * 1024  # some carry a certificate

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 - joserfc's model, exported nowhere
        """Return the algorithm of a name."""
        return self.algorithms[name]


_REGISTRY: Final = _Quiet(strict_check_header=False)


def read_keys(body: bytes) -> Sequence[Key]:
    """Return the keys of a JWK set that can check signatures, passing over all others; one of UNREADABLE where it is no set."""
    found = msgspec.json.decode(body, type=_KeySet)
    return tuple(key for data in found.keys for key in _imported(data))


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _imported(data: Mapping[str, Any]) -> Iterator[Key]:
    kinds: Mapping[object, type[_Kinds]] = {"RSA": jwk.RSAKey, "EC": jwk.ECKey, "OKP": jwk.OKPKey}
    if data.get("use", "sig") != "sig" or (kind := kinds.get(_text(data, "kty"))) is None or not _bits_fit(data):
        return
    public = {name: value for name, value in data.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        key = kind.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):  # nonsense of a stranger's making
        return
    yield Key(kid=_text(data, "kid"), kty=data["kty"], crv=_text(data, "crv"), alg=_text(data, "alg"), key=key)


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None


def _bits_fit(data: Mapping[str, Any]) -> bool:
    """Say whether a key is neither too weak nor too slow; only RSA leaves that open."""
    return data["kty"] != "RSA" or len(_text(data, "n") or "") * 6 // 8 * 8 in _RSA_BITS


def verify(token: str, keys: Sequence[Key], expected: Expected, now: datetime) -> Claims:
    """Return what the token says, or raise UnknownKey or Rejected (`reason`: what is wrong with it)."""
    try:
        signed = jws.extract_compact(token.encode(), registry=_REGISTRY)
        key = _key(signed.headers(), keys)
        if not jws.validate_compact(signed, key.key, registry=_REGISTRY):
            raise UnknownKey(reason="id_token_signature")  # or a new one under an old name
        claims = msgspec.json.decode(signed.payload, type=Claims)
    except (JoseError, *UNREADABLE, TypeError, KeyError) as error:
        raise Rejected(reason="id_token_unreadable") from error
    if reason := next(wrong(claims, expected, now.timestamp()), None):
        raise Rejected(reason=f"id_token_{reason}")
    return claims


def _key(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    """Return the key that a token names, or the only one that fits where it names none."""
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise Rejected(reason="id_token_algorithm")
    kty, curves = ALGORITHMS[alg]
    able = [key for key in keys if key.kty == kty and (not curves or key.crv in curves) and key.alg in (None, alg)]
    named = able if kid is None else [key for key in able if key.kid == kid]
    if len(named) != 1:
        raise UnknownKey(reason="id_token_key")
    return named[0]


def wrong(claims: Claims, expected: Expected, now: float) -> Iterator[str]:
    """Yield one word for each thing that a token says and must not, or does not say and must."""
    audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    asked = expected.asked.timestamp()
    checks = {
        "issuer": claims.iss == expected.issuer,
        "audience": expected.client_id in audience,
        "party": claims.azp == expected.client_id or (claims.azp is None and len(audience) == 1),
        "nonce": hmac.compare_digest(claims.nonce.encode(errors="surrogatepass"), expected.nonce.encode()),
        "expired": now < claims.exp + SKEW_S,
        "issued": asked - SKEW_S <= claims.iat <= now + SKEW_S,
        "future": claims.nbf is None or claims.nbf <= now + SKEW_S,
        "auth_time": claims.auth_time is not None and asked - SKEW_S <= claims.auth_time <= now + SKEW_S,
        "subject": 0 < len(claims.sub) <= _LONGEST_SUBJECT and claims.sub.isascii() and claims.sub.isprintable(),
    }
    return (word for word, sound in checks.items() if not sound)
