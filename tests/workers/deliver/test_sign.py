"""Signatures as a partner's library checks them."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from schemas.errors import Misconfigured
from workers.deliver.sign import Signer, header_id
from workers.runtime.secrets import Secret


def secret(filler: bytes) -> str:
    return "whsec_" + base64.b64encode(filler * 32).decode()


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


@given(st.text(max_size=600))
def test_every_id_makes_a_header(identity: str) -> None:
    name = header_id(identity)
    assert name.isascii()
    assert name.isprintable()
    assert 0 < len(name) <= 512


def test_ordinary_ids_stay_as_they_are() -> None:
    assert header_id("0b2c-1770131906289-water_detecte") == "0b2c-1770131906289-water_detecte"
