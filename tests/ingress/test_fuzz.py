"""Whatever comes over the wire, Ring's doors give only the answers that the contract allows, and never a traceback."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingress.settings import Limits
from schemas.ring.signature import sign
from tests.ingress.conftest import KEY, Edge, running

ALLOWED = {"/ring/webhook": {200, 401, 413, 503}, "/ring/token-exchange": {200, 400, 413, 503}}
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server on a loop of its own, since hypothesis calls a plain function many times."""
    started: Future[tuple[Edge, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with running(limits=Limits(deadline_s=0.3, linger_s=0.1)) as edge:
            done = asyncio.Event()
            started.set_result((edge, asyncio.get_running_loop(), done))
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    edge, loop, done = started.result(10)
    yield edge.port
    loop.call_soon_threadsafe(done.set)
    thread.join(20)


def status(port: int, sent: bytes) -> int:
    """Send bytes, and return the status that is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a refused body need not be sent whole
            connection.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(65_536)
            assert part, f"closed without an answer: {answer!r}"
            answer += part
    assert b"Traceback" not in answer
    return int(answer.split(b" ", 2)[1])


numbers = st.integers() | st.floats() | st.just(10**400)
leaves = st.none() | st.booleans() | st.text() | numbers.map(lambda number: number)
texts = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def envelope(meta: object, data: object) -> bytes:
    return json.dumps({"meta": meta, "data": data}).encode()


bodies = st.one_of(
    st.binary(max_size=2000),
    st.builds(envelope, texts, texts),
    st.builds(
        lambda depth, opening: opening * depth, st.integers(1, 20_000), st.sampled_from([b"[", b'{"a":', b'{"meta":{"a":'])
    ),
    st.sampled_from(
        [
            b'{"meta":{"request_id":"\\ud800"}}',
            b'{"meta":{"request_id":"a\\u0000b","account_id":"\\u0000"}}',
            b'{"meta":{},"meta":{"request_id":"x"},"meta":null}',
            b'{"meta":{"request_id":' + b"9" * 5000 + b"}}",
            b'{"meta":{"request_id":1e999}}',
            b"\xef\xbb\xbf{}",
            gzip.compress(b"0" * 5_000_000),
            b"code=%ff%00&code=%ed%a0%80",
            b'{"code":{"code":"a"}}',
            b"code=" + b"a" * 3000,
            b"&" * 5000,
            b"%" * 5000,
        ]
    ),
)
odd = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=100).map(lambda text: text.encode("latin-1"))
signatures = st.one_of(
    st.none(),
    odd,
    st.binary(min_size=32, max_size=32).map(lambda raw: b"sha256=" + raw.hex().encode()),
    st.integers(0, 80).map(lambda length: b"sha256=" + b"a" * length),
    st.just(b"sha256=" + b"\xed\xa0\x80" * 21 + b"a"),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Content-Type", b"Content-Encoding", b"User-Agent", b"Accept", b"Cookie", b"X-Forwarded-For", b"Expect"]
        ),
        odd | st.sampled_from([b"gzip", b"br", b"deflate", b"application/json; charset=no-such", b"multipart/form-data"]),
    ),
    max_size=4,
)


def request(
    path: str, body: bytes, signature: bytes | None, extra: list[tuple[bytes, bytes]], length: int | None = None
) -> bytes:
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % (len(body) if length is None else length)]
    lines += [b"X-Signature: " + signature] if signature is not None else []
    lines += [name + b": " + value for name, value in extra]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@quick
@given(body=bodies, extra=headers)
def test_a_signed_body_is_200_whatever_it_is_and_whatever_comes_with_it(
    port: int, body: bytes, extra: list[tuple[bytes, bytes]]
) -> None:
    signature = sign(KEY.encode(), body).encode()
    assert status(port, request("/ring/webhook", body, signature, extra)) in {200, 400}  # 400: the parser's, for odd header bytes


@quick
@given(body=bodies, signature=signatures, extra=headers)
def test_a_body_with_any_other_signature_is_401(
    port: int, body: bytes, signature: bytes | None, extra: list[tuple[bytes, bytes]]
) -> None:
    assert status(port, request("/ring/webhook", body, signature, extra)) in {401, 400}


@quick
@given(body=bodies, extra=headers, query=st.sampled_from(["", "?", "?code=a", "?code=%ff", "?code=a&code=b", "?%"]))
def test_the_code_door_gives_only_its_own_answers(port: int, body: bytes, extra: list[tuple[bytes, bytes]], query: str) -> None:
    sent = request("/ring/token-exchange" + query, body, None, extra)
    assert status(port, sent) in ALLOWED["/ring/token-exchange"]


@settings(max_examples=15, deadline=None)
@given(
    path=st.sampled_from(sorted(ALLOWED)),
    length=st.sampled_from([1, 5_000, 16_385, 262_145, 2**31, 2**40]),
    body=st.binary(max_size=1),
)
def test_a_length_that_the_body_does_not_keep_is_413_or_503(port: int, path: str, length: int, body: bytes) -> None:
    sent = request(path, body[: length - 1], None, [], length)
    assert status(port, sent) in {413, 503}


@quick
@given(sent=st.binary(min_size=1, max_size=300).map(lambda raw: raw + b"\r\n\r\n"))
def test_bytes_that_are_no_request_are_400_or_a_closed_connection(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert not answer or int(answer.split(b" ", 2)[1]) in {400, 404, 405}
