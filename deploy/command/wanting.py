"""`--filter` and its short forms: which events a command is about."""

from typing import Any, Final

import click
import orjson

from schemas.events import PREFIX
from schemas.filters import compiled

LONGEST: Final = 2_000  # a line of HTTP is not endless
EXAMPLE: Final = """'{"prefix":{"type":"com.ring.motion"}}'"""


def filter_of(expression: str | None, *, kind: str | None, account: str | None, device: str | None) -> str | None:
    """Return the filter that all of these together are, as JSON; None for none. Raises click.BadParameter in words."""
    short = {"type": PREFIX + kind.removeprefix(PREFIX) if kind else None, "accountid": account, "subject": device}
    exact = {name: text for name, text in short.items() if text}
    given = [{"exact": exact}] if exact else []
    if expression is not None:
        given.append(read(expression))
    text = orjson.dumps({"all": given} if len(given) > 1 else given[0]).decode() if given else None
    if text is not None and len(text.encode()) > LONGEST:
        raise click.BadParameter(f"is longer than the {LONGEST} characters that are taken", param_hint="--filter")
    return text


def read(expression: str) -> dict[str, Any]:
    """Return the filter of `--filter`. Raises click.BadParameter in words."""
    try:
        found: dict[str, Any] = orjson.loads(expression)
        compiled(found)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"is no JSON ({error}); write it in quotes: {EXAMPLE}", param_hint="--filter") from error
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--filter") from error
    return found
