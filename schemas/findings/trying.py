"""What the live page knows a finding by: that ringhook goes on by itself, and that it is the operator's to mend."""

from typing import Final

TRIED_AGAIN: Final = "This is tried again by itself."
OURS: Final = "on our side: "  # before what went wrong there, in words for operators
