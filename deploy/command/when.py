"""Times as people type them: an hour ago (`1h`), or a time with its offset."""

import re
from datetime import datetime, timedelta
from typing import Final

import click

from workers.runtime.clock import utc_now

FIRST: Final = "first"
_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SINCE: Final = click.option("--since", "begin", help="Only what is newer: 1h (an hour ago), or a time with its offset.")


def since(text: str | None) -> str:
    """Return what `--since` means, as `/v1` takes it."""
    return named("--since", text).isoformat() if text else ""


def begun(text: str) -> str:
    """Return what `--from` means, as `/v1` takes it: all that is kept, or from a time on."""
    return text if text == FIRST else named("--from", text).isoformat()


def named(option: str, text: str) -> datetime:
    """Return the time that an option means; click.BadParameter names the option."""
    try:
        return moment(text, utc_now())
    except click.BadParameter as error:
        raise click.BadParameter(error.message, param_hint=option) from error


def moment(text: str, now: datetime) -> datetime:
    """Return the time that is meant: so long before now, or as it stands. Raises click.BadParameter in words."""
    try:
        ago = _AGO.fullmatch(text)
        at = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        raise click.BadParameter(
            f"{text[:50]!a} is neither so long ago (30m, 1h, 2d) nor a time with its offset (2026-02-13T00:00:00Z)"
        )
    return at
