"""A value that must not be shown: its repr hides it, and only `reveal` gives it out."""

from typing import Final


class Secret:
    """Holds a secret text; printing, logging or comparing it by accident shows nothing."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Final = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __bool__(self) -> bool:
        return bool(self._value)
