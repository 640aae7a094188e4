"""Why a value of TOML is not of the type that a struct asks for, in words for whoever wrote the file. Pure."""

from collections.abc import Iterator
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

_WORDS: Final[dict[object, str]] = {
    str: "must be text in quotes",
    bool: "must be true or false",
    int: "must be a whole number, without quotes",
    float: "must be a number, without quotes",
    tuple: "must be a list in [ ]",
    dict: "must be a table",
}


def misfits(value: object, wanted: Any) -> Iterator[str]:  # noqa: ANN401 - a type expression has no type
    """Yield why a value is not of this type; of a list each item by itself."""
    if get_origin(wanted) is tuple and isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from (f"item {number} {words}" for words in misfits(item, get_args(wanted)[0]))
        return
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        yield _words(wanted)


def _words(wanted: Any) -> str:  # noqa: ANN401 - as above
    if get_origin(wanted) is Literal:
        return f"must be one of {', '.join(get_args(wanted))}"
    for each in (wanted, get_origin(wanted)):
        if each in _WORDS:
            return _WORDS[each]
    return " or ".join(_words(each) for each in get_args(wanted) if each is not NoneType)
