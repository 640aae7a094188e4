"""How a finding says that ringhook goes on by itself: the live page knows by it that nobody need do anything."""

from typing import Final

TRIED_AGAIN: Final = "This is tried again by itself."
