"""Which events somebody wants: filters as CloudEvents' Subscriptions API writes them, over the attributes of our events. Pure.

`{exact|prefix|suffix: {attribute: text, …}}` where all of them must fit, `{all|any: [filter, …]}`, `{not: filter}`. Names and
texts keep their case; an attribute that an event lacks fits nothing. Source: github.com/cloudevents/spec, subscriptions/spec.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from schemas.events import Event

Wants = Callable[[Event], bool]
ATTRIBUTES: Final = tuple(name for name in Event.__struct_fields__ if name != "data")
DEEPEST: Final = 10  # filters within filters
_TEXTS: Final[Mapping[str, Callable[[str, str], bool]]] = {"exact": str.__eq__, "prefix": str.startswith, "suffix": str.endswith}
_LISTS: Final = {"all": all, "any": any}
DIALECTS: Final = (*_TEXTS, *_LISTS, "not")


def everything(event: Event) -> bool:  # noqa: ARG001 - the shape of Wants
    """Want any event."""
    return True


def wanting(expression: object, *, unlinked: bool) -> Wants:
    """Return the test for who wants what a filter names (None: all), `unlinked` events too or not. ValueError as below."""
    fits = everything if expression is None else compiled(expression)
    return fits if unlinked else lambda event: event.linked and fits(event)


class Takes(msgspec.Struct, frozen=True):
    """Which events somebody takes: those that a filter fits (None: all), those of accounts that are not linked or not."""

    filter: dict[str, Any] | None
    unlinked: bool

    def wants(self, *, named: bool) -> Wants:
        """Return the test for it; `named`: for what is asked for by its name, whatever the filter. ValueError as below."""
        return wanting(None if named else self.filter, unlinked=self.unlinked)

    def written(self) -> str:
        """Return it as JSON."""
        return msgspec.json.encode(self).decode()


def compiled(expression: object, *, left: int = DEEPEST) -> Wants:
    """Return the test that an expression stands for. ValueError: what is wrong with it, in words, and where."""
    if not left:
        raise ValueError(f"filters stand in one another more than {DEEPEST} deep")
    if not isinstance(expression, Mapping) or len(expression) != 1 or not set(expression) <= set(DIALECTS):
        raise ValueError(f"must be a table with one of {', '.join(DIALECTS)}")
    ((dialect, operand),) = expression.items()
    try:
        return _compiled(dialect, operand, left)
    except ValueError as error:
        raise ValueError(f"{dialect}: {error}") from None


def _compiled(dialect: str, operand: object, left: int) -> Wants:
    if dialect in _TEXTS:
        return _fitting(_TEXTS[dialect], operand)
    if dialect == "not":
        unwanted = compiled(operand, left=left - 1)
        return lambda event: not unwanted(event)
    if not isinstance(operand, list) or not operand:
        raise ValueError("must be a list of filters in [ ], with at least one")
    wanted, how = [compiled(each, left=left - 1) for each in operand], _LISTS[dialect]
    return lambda event: how(wants(event) for wants in wanted)


def _fitting(fits: Callable[[str, str], bool], operand: object) -> Wants:
    if not isinstance(operand, Mapping) or not operand:
        raise ValueError('must be a table with at least one attribute, as { type = "com.ring.motion_detected" }')
    for name, text in operand.items():
        if name not in ATTRIBUTES:
            raise ValueError(f"{str(name)[:50]!a} is no attribute of an event; there are {', '.join(ATTRIBUTES)}")
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name} must be text in quotes, and not empty")
    asked = tuple(operand.items())
    return lambda event: all((said := spoken(event, name)) is not None and fits(said, text) for name, text in asked)


def spoken(event: Event, name: str) -> str | None:
    """Return an attribute as CloudEvents spells it (`true`, `2026-02-13T13:39:57Z`), None where the event has none."""
    value: Any = getattr(event, name)
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(msgspec.to_builtins(value))
