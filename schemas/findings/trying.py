"""What the live page knows a finding by: that ringhook goes on by itself, what helps where that lasts, what is the operator's."""

from typing import Final

TRIED_AGAIN: Final = "This is tried again by itself."
UNTOLD: Final = (  # where a sign-in's ten minutes are over, and nobody can say yet whether Ring took it
    "The connection may yet complete by itself; if it has not half an hour after you signed in, tap Sign In in the Ring app again"
)
OURS: Final = "on our side: "  # before what went wrong there, in words for operators
