"""Names of hosts, and addresses on the web."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from schemas.hosts import is_host, web_parts

LONG = ".".join(["abcdefghi"] * 25)  # 249 characters

NAMES = (
    "localhost",
    "a_b.example.com",
    "example.com.",
    "bücher.example.com",
    "xn--bcher-kva.example.com",
    "127.0.0.1",
    "127.1",
    "::1",
)
NO_NAMES = (
    *("", ".", ".example.com", "db..example.com", "a" * 64 + ".example.com", LONG + ".abcdefghi", "xn--a.example.com"),
    *(
        "a b",
        "a\0b",
        "a/b",
        "ex%61mple.com",
        "*.example.com",
        "a\\b",
        "a@b",
        "[::1",
        "[a]",
        "[127.0.0.1]",
        "1.2.3.4.5",
        "256.256.256.256",
    ),
)


@pytest.mark.parametrize("name", [*NAMES, LONG])
def test_what_can_be_looked_up_is_a_host(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_nobody_can_look_up_is_none(name: str) -> None:
    assert not is_host(name)


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_address_needs_a_host(name: str) -> None:
    assert web_parts(f"https://{name}:8443") is None or "/" in name or "@" in name  # there they mean something else


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com",
        "https:",
        "//example.com",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com/\t",
    ],
)
def test_an_address_is_of_the_web_and_has_a_port_that_can_be_called(text: str) -> None:
    assert web_parts(text) is None


@given(st.text(st.characters(codec="utf-8"), max_size=12) | st.from_regex(r"[a-z0-9.:%xn\[\]-]{1,12}", fullmatch=True))
def test_whatever_stands_there_is_told_of_and_what_passes_can_be_called(name: str) -> None:
    parts = web_parts(f"https://{name}.example.com/ring")
    if parts is not None:
        assert URL(f"https://{name}.example.com/ring").host
    web_parts(f"https://{name}")  # raises nothing
