"""One text into one value, or a ValueError that says in words what is wrong and never quotes the text."""

from collections.abc import Callable
from urllib.parse import urlsplit

from ingress.settings import Limits
from schemas.errors import Misconfigured
from workers.runtime.secrets import Secret


def secret(text: str) -> Secret:
    """Return the text as a Secret; white space around a pasted key is refused, since it never belongs to it."""
    if text != text.strip():
        raise ValueError("has white space or a line end around it: paste the value alone")
    return Secret(text)


def listen(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `[::1]:port` or `:port`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 -- the highest port
        raise ValueError("is not host:port")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 -- `:port` means every address, as everywhere


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs with one of these schemes."""

    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return parse


def base_url(text: str) -> str:
    """Return scheme and host of a web address, without a slash at its end."""
    parts = urlsplit(url("https", "http")(text))
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be scheme and host alone, without a path")
    return text.rstrip("/")


def namespace(text: str) -> str:
    """Return a namespace: letters, digits, - and _."""
    if not (0 < len(text) <= 40 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):  # noqa: PLR2004
        raise ValueError("must be 1 to 40 letters, digits, - and _")
    return text


def yes_or_no(text: str) -> bool:
    """Return a truth value."""
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError("must be yes or no")
    return text.lower() in ("yes", "true", "1")


def level(text: str) -> str:
    """Return the name of a log level."""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be debug, info, warning or error")
    return text.upper()


def items(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def rate(text: str) -> float:
    """Return requests a second."""
    if not 0 < (rate := float(text)) <= 100:  # noqa: PLR2004 -- Ring's own limit per client id
        raise ValueError("must be above 0 and at most 100 requests a second, Ring's own limit")
    return rate


def deadline(text: str) -> float:
    """Return the ingress deadline in seconds."""
    try:
        return Limits(deadline_s=float(text)).deadline_s
    except Misconfigured as error:
        raise ValueError(str(error)) from error


def path(text: str) -> str:
    """Return the text: any path will do."""
    return text
