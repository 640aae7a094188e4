"""Names of hosts, and addresses on the web. Pure."""

import re
from ipaddress import IPv6Address, ip_address
from socket import inet_aton
from typing import Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 253  # characters of a whole name (RFC 1035)
_SIGNS: Final = re.compile(
    r"[^\x00-\x20\x7f#%/:<>?@\[\\\]^|*`'\"{}]+"
)  # the URL Standard's forbidden ones, and of patterns and quotes
_NUMBER: Final = re.compile(r"(.*\.)?[0-9]+")


def is_host(name: str) -> bool:
    """Say whether a name can be looked up, or is an address, an IPv6 one in brackets or without.

    No empty or overlong label, nothing unseen (RFC 1035, RFC 3490).
    """
    return _is_address(name) or (bool(_SIGNS.fullmatch(name)) and _is_name(name))


def web_parts(text: str) -> SplitResult | None:
    """Return the parts of an http or https address at which somebody may answer, or None where it is none."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("https", "http") and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return None
    return parts if sound and text.isprintable() and " " not in text else None


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        IPv6Address(name[1:-1]) if bracketed else ip_address(name)
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    try:
        plain = name.encode("idna").removesuffix(b".")
        plain.decode("idna")  # of what only looks encoded: xn--a
    except UnicodeError:
        return False
    return 0 < len(plain) <= LONGEST and not _is_broken_number(plain.decode())


def _is_broken_number(name: str) -> bool:
    """Say whether a name ends in a number and is no IPv4 address in any notation: browsers and resolvers refuse it."""
    if not _NUMBER.fullmatch(name):
        return False
    try:
        inet_aton(name)
    except OSError:
        return True
    return False
