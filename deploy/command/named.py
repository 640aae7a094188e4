"""The ids and names that a command is about: an empty one is asked for, before anything is."""

from typing import Final

import click

from schemas.errors import Misconfigured


class Named(click.ParamType[str]):
    """Takes any text but an empty one, which comes of a shell variable that is not set. Raises Misconfigured."""

    name = "id"

    def __init__(self, words: str) -> None:
        self._words = words

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is."""
        del param, ctx
        if not value.strip():
            raise Misconfigured(self._words)
        return value


ACCOUNT: Final = Named("Say which account: `ringhook accounts list` shows their ids")
EVENT: Final = Named("Say which event: `ringhook deliveries list` and `ringhook tail` show their ids")
LETTER: Final = Named("Say which dead letter: `ringhook dead list` shows where each lies")
REPLAY: Final = Named("Say which replay: `ringhook replay list` shows their ids")
DESTINATION: Final = Named("Say which destination: `ringhook destinations status` shows their names")
