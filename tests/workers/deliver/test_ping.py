"""`ringhook destinations check` of one destination: what is sent, and what is made of its fate."""

import ssl
from pathlib import Path

from deploy.command import reaching
from tests.workers.deliver.certificates import Authority, demanding, explaining
from tests.workers.deliver.support import SECRET, Sink, destination
from workers.deliver import tls
from workers.deliver.ping import ping
from workers.runtime.secrets import Secret

OF_MOTION = "data.motion && {id: id, what: data.motion}"


async def test_a_shape_that_makes_nothing_of_the_test_event_leaves_the_service_to_be_reached(sink: Sink) -> None:
    pinged = await ping(destination(sink.url, shape=OF_MOTION), [Secret(SECRET)], {}, None)
    said = list(reaching.lines(pinged))[1:]
    assert said[:2] == ["  addresses: 127.0.0.1", f"  {reaching.UNSHAPED}"]
    assert said[2].startswith("  answered 405 in ")
    assert len(said) == 3, "what a service says to a HEAD means nothing for events"
    assert reaching.well(pinged)
    assert (reaching.facts(pinged)["status"], reaching.facts(pinged)["event"]) == (405, None)
    assert not sink.ids


async def test_a_service_that_cannot_be_reached_is_not_well_whatever_its_shape() -> None:
    pinged = await ping(destination("http://127.0.0.1:9/ring", shape=OF_MOTION), [Secret(SECRET)], {}, None)
    *_, unshaped, last = reaching.lines(pinged)
    assert unshaped == f"  {reaching.UNSHAPED}"
    assert last == "  not reached: the connection was refused (nothing listens there)"
    assert not reaching.well(pinged)


async def test_who_hangs_up_on_a_missing_certificate_is_not_told_to_speak_no_http(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    demands = demanding(authority, authority.vouch("server"))
    demands.minimum_version = ssl.TLSVersion.TLSv1_3
    async with explaining(demands, says=False) as url:
        trust = tls.believing(authority.certificate.read_text())
        pinged = await ping(destination(url), [Secret(SECRET)], {}, trust)
    (*_, last) = reaching.lines(pinged)
    assert pinged.answer
    assert pinged.answer.failure == "protocol"
    assert last.startswith("  not reached: it hung up without an answer: perhaps it wants to see a certificate of ours")
