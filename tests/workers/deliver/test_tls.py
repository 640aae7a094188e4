"""Deliveries to servers that vouch for themselves by an authority of their own, and want to know who calls."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.workers.deliver.certificates import Authority, demanding, explaining
from tests.workers.deliver.support import Sink, destination, served
from workers.deliver import tls
from workers.deliver.answer import Answer
from workers.deliver.send import Sender

REFUSED = ("tls", "connect")  # since TLS 1.3 the refusal comes after the handshake, and a reset may overtake it


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def guarded(authority: Authority) -> AsyncIterator[Sink]:
    """A service that lets in nobody without a certificate of the authority's."""
    sink = Sink()
    app = web.Application()
    app.router.add_post("/ring", sink.ring)
    async with served(app, tls=demanding(authority, authority.vouch("server"))) as url:
        sink.url = f"{url}/ring"
        yield sink


async def attempt(url: str, authorities: str | None = None, files: tuple[Path, Path] | None = None) -> Answer:
    context = tls.believing(authorities) if authorities else tls.trusting()
    if files:
        tls.identify(context, *files)
    async with Sender(destination(url, cert_file=files and str(files[0])), tls=context) as sender:
        return await sender.post(b"{}", {"webhook-id": "e1"})


async def test_a_server_gets_in_whom_its_authority_vouches_for_and_is_believed_by_that_alone(
    authority: Authority, guarded: Sink
) -> None:
    pem, us = authority.certificate.read_text(), authority.vouch("ringhook")
    assert (await attempt(guarded.url, pem, us)).status == 200
    assert (await attempt(guarded.url, None, us)).failure == "tls"  # the system does not know the authority
    assert (await attempt(guarded.url, pem)).failure in REFUSED  # we have no certificate to show
    assert len(guarded.ids) == 1


async def test_a_certificate_of_anybody_else_is_not_believed_on_either_side(
    authority: Authority, guarded: Sink, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    pem = authority.certificate.read_text()
    assert (await attempt(guarded.url, pem, stranger.vouch("ringhook"))).failure in REFUSED
    assert (await attempt(guarded.url, stranger.certificate.read_text(), authority.vouch("us"))).failure == "tls"
    assert not guarded.ids


async def test_a_certificate_must_be_the_hosts(authority: Authority) -> None:
    app = web.Application()
    files = authority.vouch("server", host="127.0.0.9")
    async with served(app, tls=demanding(authority, files)) as url:
        assert (await attempt(url, authority.certificate.read_text(), authority.vouch("us"))).failure == "tls"


async def test_a_key_may_stand_below_its_certificate(authority: Authority, guarded: Sink, tmp_path: Path) -> None:
    certificate, key = authority.vouch("us")
    both = tmp_path / "both.pem"
    both.write_text(f"Bag Attributes: \u00fc\n{certificate.read_text()}{key.read_text()}")
    assert (await attempt(guarded.url, authority.certificate.read_text(), (both, both))).status == 200


@pytest.mark.parametrize(
    ("version", "said"), [(ssl.TLSVersion.TLSv1_2, "handshake failure"), (ssl.TLSVersion.TLSv1_3, "certificate required")]
)
async def test_a_server_that_wants_a_certificate_is_told_with_the_setting_that_names_one(
    authority: Authority, version: ssl.TLSVersion, said: str
) -> None:
    demands = demanding(authority, authority.vouch("server"))
    demands.maximum_version = version
    async with explaining(demands) as url:
        answer = await attempt(url, authority.certificate.read_text())
    assert answer.failure == "tls"
    assert answer.words.startswith(f'TLS failed, the other side said "{said}"')
    assert answer.words.endswith("it wants to see a certificate of ours, and cert_file names none")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_does_not_accept_our_certificate_is_told_so(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    demands, stranger = demanding(authority, authority.vouch("server")), Authority(tmp_path, "stranger")
    demands.maximum_version = version
    async with explaining(demands) as url:
        answer = await attempt(url, authority.certificate.read_text(), stranger.vouch("us"))
    assert answer.failure == "tls"
    said = 'TLS failed, the other side said "unknown ca": it does not accept our certificate'
    assert answer.words == f"{said} (does cert_file hold those between, too?)"


async def test_a_server_that_hangs_up_after_tls_began_may_want_a_certificate(authority: Authority, guarded: Sink) -> None:
    answer = await attempt(guarded.url, authority.certificate.read_text())
    assert answer.words == "the connection was cut: perhaps it wants to see a certificate of ours, and cert_file names none"


@pytest.mark.parametrize(
    ("version", "words"),
    [(ssl.TLSVersion.TLSv1_2, "the connection was cut"), (ssl.TLSVersion.TLSv1_3, "it hung up without an answer")],
)
async def test_a_server_that_hangs_up_without_a_word_may_want_one_too(
    authority: Authority, version: ssl.TLSVersion, words: str
) -> None:
    demands = demanding(authority, authority.vouch("server"))
    demands.maximum_version = version
    async with explaining(demands, says=False) as url:
        answer = await attempt(url, authority.certificate.read_text())
    assert answer.words == f"{words}: perhaps it wants to see a certificate of ours, and cert_file names none"
