"""What a service says, without the secrets that it was told, however it escapes what it repeats."""

import html
import json
import re
from collections.abc import Callable
from functools import reduce
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.deliver.redact import BEGIN, MASK, redacted, secret_parts

TOKEN = "Bearer QUJD/REVGR0hJSktM+TU5PUFFS/U1Q="
QUOTED = 'Bearer "x&y-longer-than-eight"'
NAMED = {"/": "&sol;", "+": "&plus;", "=": "&equals;", "&": "&amp;", '"': "&quot;", ".": "&period;", "%": "&percnt;"}
Spelling = Callable[[str], str]


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def in_php(text: str) -> str:
    return in_json(text).replace("/", r"\/")


def in_units(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def in_go(text: str) -> str:
    return "".join(rf"\u{ord(one):04X}" if one in "/+=&<>" else one for one in in_json(text))


def in_python(text: str) -> str:
    return repr(text.encode())[2:-1]


def in_percents(text: str) -> str:
    return re.sub("%..", lambda byte: byte.group().lower(), quote(text, safe=""))


def in_names(text: str) -> str:
    return "".join(NAMED.get(one, one) for one in text)


def in_numbers(text: str) -> str:
    return "".join(one if one.isalnum() and one.isascii() else f"&#{ord(one):04};" for one in text)


def in_hex(text: str) -> str:
    return "".join(one if one.isalnum() and one.isascii() else f"&#x{ord(one):X};" for one in text)


IN_JSON = [in_json, in_php, in_units, in_go, in_python]
SPELLINGS = [str, *IN_JSON, quote, quote_plus, in_percents, html.escape, in_names, in_numbers, in_hex]
SPELT = st.lists(st.sampled_from(SPELLINGS), max_size=2).map(tuple)
# The last is no backslash: it would escape what follows it.
SECRETS = st.text('abYZ059-_.~+/=% "&<>\\\né', min_size=12).filter(lambda text: not text.endswith("\\"))


def spelt(text: str, spellings: tuple[Spelling, ...]) -> str:
    return reduce(lambda said, spell: spell(said), spellings, text)


@pytest.mark.parametrize("secret", [TOKEN, QUOTED])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_masked_however_it_is_escaped(secret: str, spelling: Spelling) -> None:
    said = f"Authorization: '{spelling(secret)}', Host".encode()
    assert redacted(said, secret_parts([secret])) == b"Authorization: '***', Host"


@given(SECRETS, SPELT)
@example(QUOTED, (html.escape, in_php))
def test_nothing_is_left_of_a_secret_that_is_escaped_once_and_again(secret: str, spellings: tuple[Spelling, ...]) -> None:
    said = f"'{spelt(secret, spellings)}'".encode()
    assert redacted(said, secret_parts([secret])) == b"'***'"


@given(st.integers(0, 300), st.sampled_from([TOKEN, QUOTED]), SPELT)
def test_the_end_of_a_text_shows_next_to_nothing_of_a_secret_that_it_cuts(
    cut: int, secret: str, spellings: tuple[Spelling, ...]
) -> None:
    said = redacted(f"'{spelt(secret, spellings)}".encode()[: 1 + cut], secret_parts([secret]))
    begun = spelt(secret[: BEGIN - 1], spellings).encode()
    assert said == b"'" + MASK or len(said) <= len(begun) + len(spelt(secret[BEGIN - 1], spellings).encode())


@pytest.mark.parametrize(
    "said", ["50% \\ of C:\\new &amp; R&D; a+b%2Fc &#47; \\u00e9 \\ud800", "QUJ", "Bearer of news", "\\u00", "&", "100%"]
)
def test_what_is_no_secret_stays_as_it_is(said: str) -> None:
    assert redacted(said.encode(), secret_parts([TOKEN, QUOTED])) == said.encode()
