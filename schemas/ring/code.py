"""The authorization code of the Token Exchange request, found by the shape of the body: its Content-Type is not dependable.

Source: developer.amazon.com/docs/ring/account-linking.html; a Java client posts it, JSON-only receivers failed.
"""

import json
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec
import orjson

from schemas.errors import UNREADABLE, Rejected

CODE_LIMIT: Final = 2 * 1024  # characters
BODY_LIMIT: Final = 16 * 1024  # bytes; the door answers 413 beyond
_NAMES: Final = ("code", "authorization_code")
_NOTED: Final = frozenset(
    (
        *_NAMES,
        "grant_type",
        "redirect_uri",
        "state",
        "scope",
        "client_id",
        "client_secret",
        "code_verifier",
        "account_id",
        "user_id",
    )
)

Form = Literal["json", "form", "query", "none"]
Why = Literal["no_code", "two_codes", "code_too_long", "code_malformed"]
Pairs = list[tuple[str, str]]


class Posted(msgspec.Struct, frozen=True):
    """A code and how it was said. `fields` are names from a fixed list, any other being `other`: safe to note."""

    code: str
    form: Form
    fields: tuple[str, ...]

    def __repr__(self) -> str:
        """Hide the code."""
        return f"Posted(form={self.form!r}, fields={self.fields!r})"


class NoCode(Rejected):
    """The request holds no usable authorization code."""

    def __init__(self, reason: Why, form: Form, fields: tuple[str, ...]) -> None:
        super().__init__(reason=reason)
        self.form: Form = form
        self.fields = fields


def parse(body: bytes, query: str) -> Posted:
    """Return the one code of a request, or raise NoCode with the reason; nothing else, whatever the bytes are.

    `{` opens JSON, anything else is a form; `query`, as it came and still percent-encoded, counts besides. Empty values are as
    if absent.
    """
    text = body.decode(errors="replace").strip("\ufeff \t\r\n\0")
    said, asked = _json(text) if text.startswith("{") else _form(text), _form(query)
    form: Form = ("json" if text.startswith("{") else "form") if said else "query" if asked else "none"
    fields = _noted([*said, *asked])
    codes = {value for name, value in (*said, *asked) if name in _NAMES and value}
    if len(codes) != 1:
        raise NoCode("two_codes" if codes else "no_code", form, fields)
    return Posted(code=_checked(codes.pop(), form, fields), form=form, fields=fields)


def _checked(code: str, form: Form, fields: tuple[str, ...]) -> str:
    if not code.isascii() or not code.isprintable() or " " in code:  # RFC 6749: visible ASCII
        raise NoCode("code_malformed", form, fields)
    if len(code) > CODE_LIMIT:
        raise NoCode("code_too_long", form, fields)
    return code


def _json(text: str) -> Pairs:
    """Return the outermost object's members, repeated ones too."""
    try:
        orjson.loads(text)  # refuses depth before the recursive parser sees it
        members: list[tuple[str, object]] = json.loads(text, object_pairs_hook=list)
    except UNREADABLE:
        return []
    return [(name, _said(value)) for name, value in members]


def _said(value: object) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else " "  # a space: said, and malformed


def _form(text: str) -> Pairs:
    try:
        return [(name.strip(), value.strip()) for name, value in parse_qsl(text)]
    except ValueError:
        return []


def _noted(pairs: Pairs) -> tuple[str, ...]:
    return tuple(sorted({name if name in _NOTED else "other" for name, _ in pairs}))
