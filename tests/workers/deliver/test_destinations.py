"""What may stand in `[[destination]]`."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest
from hypothesis import example, given
from hypothesis.strategies import ip_addresses

from workers.deliver.destinations import MARGIN_S, SESSION_S, Destination, problems
from workers.runtime.guard import permitted

GOOD = {"name": "alerts", "url": "https://alerts.example.com/ring", "secret_env": "ALERTS_SECRET"}


def found(**changes: object) -> str:
    return "\n".join(problems(msgspec.convert({**GOOD, **changes}, Destination)))


def test_a_plain_destination_has_no_problem() -> None:
    assert not found()
    assert not found(url="http://10.1.2.3:8080/x", allow_http=True, allow_networks=["10.0.0.0/8"])
    assert not found(url="http://localhost:8080/x", allow_http=True, allow_networks=["127.0.0.0/8"])
    assert not found(url="https://[2606:4700::1111]/x")
    assert not found(**{"from": "first"})
    assert not found(rate=10_000)
    assert not found(rate=0.1)
    assert not found(filter={"prefix": {"type": "com.ring.motion"}})
    assert not found(**{"from": "2026-02-13T00:00:00+02:00"})


def test_a_beginning_that_lies_ahead_is_told_where_the_time_is_known() -> None:
    begins = msgspec.convert({**GOOD, "from": "2026-02-13T00:00:00Z"}, Destination)
    at = datetime(2026, 2, 13, tzinfo=UTC)
    assert not problems(begins, now=at)
    assert [words.split(":")[0] for words in problems(begins, now=at - timedelta(seconds=1))] == ["from"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "Alerts"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a" * 41}, "name"),
        ({"name": "a\n"}, "name"),
        ({"url": "http://alerts.example.com/"}, "https"),
        ({"url": "ftp://alerts.example.com/"}, "https"),
        ({"url": "http+unix://%2Frun%2Fdocker.sock/x", "allow_http": True}, "https"),
        ({"from": "yesterday"}, "from"),
        ({"from": "end"}, "from"),
        ({"from": "2026-02-13T00:00:00"}, "offset"),  # whose midnight?
        ({"url": "alerts.example.com"}, "address"),
        ({"url": "https://"}, "address"),
        ({"url": "https://x.example.com:99999/"}, "address"),
        ({"url": "https://x.example.com:0/"}, "address"),
        ({"url": "https://[::1"}, "address"),
        ({"url": "https://alerts..example.com/"}, "address"),
        ({"url": "https://1.2.3.4.5/"}, "address"),
        ({"url": "https://x.example.com/a b"}, "address"),
        ({"url": "https://u:p@x.example.com/"}, "password"),
        ({"url": "https://x.example.com/#here"}, "fragment"),
        ({"url": "https://127.0.0.1/"}, "network"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, "network"),
        ({"url": "https://169.254.169.254/latest"}, "network"),
        ({"url": "https://169。254。169。254/"}, "network"),
        ({"url": "https://localhost/"}, "machine"),
        ({"url": "https://a.localhost./", "allow_networks": ["10.0.0.0/8"]}, "machine"),
        ({"url": "https://127.1/"}, "four numbers"),
        ({"url": "https://2130706433/"}, "four numbers"),
        ({"url": "https://0x7f.1/", "allow_networks": ["127.0.0.0/8"]}, "four numbers"),
        ({"url": "https://127.0.0.1./"}, "four numbers"),
        ({"secret_env": None}, "secret_env"),
        ({"secret_file": "/run/secrets/x"}, "one of them"),
        ({"allow_networks": ["10.0.0.1/8"]}, "allow_networks"),
        ({"concurrency": 0}, "concurrency"),
        ({"shape": "a..b"}, "shape: cannot be read from character 3 on"),
        ({"shape": "a", "body": "payload"}, "shape, body: a shape is made of the structured event"),
        ({"rate": 0}, "rate: must be above 0 and at most 10,000"),
        ({"rate": 10_001}, "rate: must be above 0"),
        ({"rate": float("nan")}, "rate: must be above 0"),
        ({"timeout_s": 25}, "timeout_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"filter": {"exact": {"kind": "x"}}}, "filter: exact: 'kind' is no attribute of an event"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(changes: dict[str, object], word: str) -> None:
    assert word in found(**changes)


@given(ip_addresses())
@example(IPv4Address("169.254.169.254"))
@example(IPv6Address("::ffff:169.254.169.254"))
@example(IPv6Address("fe80::1"))
@example(IPv4Address("1.1.1.1"))
def test_an_address_is_refused_here_just_where_the_guard_would_refuse_it(address: IPv4Address | IPv6Address) -> None:
    url = f"https://{address}/" if address.version == 4 else f"https://[{address}]/"
    assert ("leads into a network" in found(url=url)) is not permitted(str(address), ())


@pytest.mark.parametrize("session_s", [6.0, SESSION_S, 60.0])
def test_what_is_under_way_ends_and_is_told_before_the_group_is_dealt_anew_without_its_member(session_s: float) -> None:
    longest = msgspec.convert({**GOOD, "timeout_s": session_s - MARGIN_S - 0.01}, Destination)
    assert not problems(longest, session_s=session_s)
    heard_s = 2.0  # from the group's call to the heartbeat that hears it
    assert longest.timeout_s < longest.ends_s < longest.grace_s < session_s - heard_s


def test_everything_wrong_is_told_at_once() -> None:
    assert len(found(name="A", url="x", concurrency=0, timeout_s=0).splitlines()) == 4


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GOOD, "urll": "x"}, Destination)
