"""Signatures as a partner's library checks them."""

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from schemas.errors import Misconfigured
from workers.deliver.sign import Scheme, Signer, header_id
from workers.runtime.secrets import Secret
from workers.runtime.signing import SigningKey, generate


def secret(filler: bytes) -> str:
    return "whsec_" + base64.b64encode(filler * 32).decode()


def private(*halves: bytes) -> str:
    return "whsk_" + base64.b64encode(b"".join(halves)).decode()


def test_both_secrets_verify_during_rotation() -> None:
    headers = Signer([Secret(secret(b"a")), Secret(secret(b"b"))]).headers("e1", int(time.time()), b'{"a":1}')
    for text in (secret(b"a"), secret(b"b")):
        assert Webhook(text).verify(b'{"a":1}', headers) == {"a": 1}
    assert headers["webhook-signature"].count("v1,") == 2


def test_unpadded_secrets_mean_the_same() -> None:
    text = "whsec_" + base64.b64encode(b"x" * 25).decode()
    now = int(time.time())
    assert Signer([Secret(text)]).headers("e", now, b"") == Signer([Secret(text.rstrip("="))]).headers("e", now, b"")


@pytest.mark.parametrize(
    "text",
    ["", "plain", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", "whsec_" + "a" * 33, "whsec_" + "a-_" * 20, "whsec_" + "ä" * 40],
)
def test_a_secret_that_cannot_sign_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Signer([Secret(text)])
    assert not text.removeprefix("whsec_") or text not in str(refused.value)


def test_no_secret_is_refused() -> None:
    with pytest.raises(Misconfigured):
        Signer([])


def test_a_pair_of_keys_signs_what_others_libraries_check_and_the_service_cannot_sign() -> None:
    pairs = [generate(), generate()]
    headers = Signer(pairs, "v1a").headers("e1", 1_700_000_000, b'{"a":1}')
    signatures = headers["webhook-signature"].split()
    for pair, signature in zip(pairs, signatures, strict=True):
        scheme, text = signature.split(",")
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(SigningKey(pair).public.removeprefix("whpk_")))
        public.verify(base64.b64decode(text), b'e1.1700000000.{"a":1}')
        with pytest.raises(InvalidSignature):
            public.verify(base64.b64decode(text), b'e1.1700000001.{"a":1}')
        assert scheme == "v1a"


def test_a_key_is_the_same_with_and_without_its_public_half() -> None:
    whole = generate().reveal()
    seed = private(base64.b64decode(whole.removeprefix("whsk_"))[:32])
    for text in (seed, seed.rstrip("="), whole.rstrip("=")):
        assert SigningKey(Secret(text)).public == SigningKey(Secret(whole)).public


@pytest.mark.parametrize(
    ("text", "scheme", "words"),
    [
        (secret(b"a"), "v1a", "`ringhook secret --sign v1a` makes a signing key"),
        (private(b"k" * 32), "v1", 'say sign = "v1a" for it'),
        ("whpk_" + "A" * 43 + "=", "v1a", "this is a public key"),
        ("whpk_" + "A" * 43 + "=", "v1", "this is a public key"),
        ("whsk_" + "A" * 40, "v1a", "base64 of 32 or 64 bytes"),
        ("whsk_", "v1a", "base64 of 32 or 64 bytes"),
        ("whsk_" + "-" * 43, "v1a", "base64 of 32 or 64 bytes"),
        ("whsk_" + "A" * 41, "v1a", "base64 of 32 or 64 bytes"),
        ("canary", "v1a", "base64 of 32 or 64 bytes"),
        (private(b"k" * 32, b"l" * 32), "v1a", "do not belong together"),
    ],
)
def test_what_cannot_sign_is_told_with_what_to_do_and_not_shown(text: str, scheme: Scheme, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as refused:
        Signer([Secret(text)], scheme)
    assert text[8:] not in str(refused.value) or len(text) < 9
    assert "canary" not in str(refused.value)


@given(st.text(max_size=600))
def test_every_id_makes_a_header(identity: str) -> None:
    name = header_id(identity)
    assert name.isascii()
    assert name.isprintable()
    assert 0 < len(name) <= 512


def test_ordinary_ids_stay_as_they_are() -> None:
    assert header_id("0b2c-1770131906289-water_detecte") == "0b2c-1770131906289-water_detecte"
