"""What is said of an attempt whose request held several events: it is no verdict on this one."""

from typing import Any, Final

APART: Final = " (one of them may be at fault: it is sent again with fewer, at last alone)"
ALONE: Final = " (either may be at fault: it is sent again alone)"


def together(attempt: dict[str, Any]) -> str:
    """Return with how many others it was sent, to stand after the verdict; nothing where it was alone."""
    count = others(attempt)
    return f" together with {count} other{'s' * (count > 1)}" if count else ""


def others(attempt: dict[str, Any]) -> int:
    """Return how many other events its request held."""
    return int(attempt.get("events", 1)) - 1


def doubt(count: int) -> str:
    """Return what a refusal together with so many others means for each of them."""
    return APART if count > 1 else ALONE
