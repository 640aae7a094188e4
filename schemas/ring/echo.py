"""Secrets taken out of what others say: an error may repeat what it was asked with (security.md 17). Pure."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "…"
_LETTER: Final = r"[A-Za-z0-9+/_=.~%-]"
# What looks like a secret, whoever has it: 20 such letters with a digit among them, or 40; `unsupported_grant_type` does not.
_RUN: Final = re.compile(rf"(?={_LETTER}*\d){_LETTER}{{20,}}|{_LETTER}{{40,}}")


def without(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, also as a URL spells them, and without what looks like one."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return _RUN.sub(HIDDEN, text)
