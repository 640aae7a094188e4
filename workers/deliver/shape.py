"""What a destination's `shape` makes of an event: JMESPath over the structured event. Pure; the only importer of jmespath.

Source: jmespath.org/specification.html.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import jmespath
from jmespath.exceptions import EmptyExpressionError, IncompleteExpressionError, LexerError, ParseError
from jmespath.functions import Functions

from schemas.errors import Rejected

LONGEST: Final = 4_096  # characters
_SHOWN: Final = 12  # characters of what cannot be read
_FUNCTIONS: Final[Mapping[str, Any]] = Functions.FUNCTION_TABLE

Shape = Callable[[bytes], bytes]


def compiled(expression: str) -> Shape:
    """Return what makes one JSON document of another; it raises Rejected (`unshaped`) where that cannot be done, or gives null.

    ValueError: what is wrong with the expression, in words, and where.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"is longer than {LONGEST:,} characters")
    try:
        parsed = jmespath.compile(expression)
        misused = next(_misused(parsed.parsed), None)
    except EmptyExpressionError:
        raise ValueError("is empty: leave it out, and the event comes whole") from None
    except ParseError as error:
        raise ValueError(_unread(expression, error)) from None
    except RecursionError:
        raise ValueError("has too many brackets in one another") from None
    if misused:
        raise ValueError(misused)
    return lambda document: _shaped(parsed, document)


def _shaped(parsed: Any, document: bytes) -> bytes:  # noqa: ANN401 - jmespath ships no types
    try:
        made = parsed.search(json.loads(document))
        text = json.dumps(made, separators=(",", ":"), allow_nan=False)
    except Exception as error:  # whatever the library stumbles over, it is over this event
        raise Rejected(f"the shape does not fit this event ({type(error).__name__})", reason="unshaped") from error
    if made is None:
        raise Rejected("the shape gives nothing for this event", reason="unshaped")
    return text.encode()


def _unread(expression: str, error: ParseError) -> str:
    at = error.lex_position
    if isinstance(error, IncompleteExpressionError):
        return f"ends too soon: something is missing after character {len(expression.rstrip())}, its last"
    if isinstance(error, LexerError) and error.message.startswith("Unclosed"):
        return f"the quote at character {at + 1} is never closed"
    return f"cannot be read from character {at + 1} on: {expression[at : at + _SHOWN]!r}"


def _misused(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with each function that is called: the library finds out only with an event, and not with every one."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        if name not in _FUNCTIONS:
            yield f"{name}() is no function of JMESPath"
        elif not _takes(_FUNCTIONS[name]["signature"], given):
            yield f"{name}() is called with {given} values, and takes {len(_FUNCTIONS[name]['signature'])}"
    for child in node["children"]:
        yield from _misused(child)


def _takes(signature: Any, given: int) -> bool:  # noqa: ANN401 - as above
    variadic = bool(signature and signature[-1].get("variadic"))
    return given >= len(signature) if variadic else given == len(signature)
