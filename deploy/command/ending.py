"""How a process ends that could not go on: its exit code, and one sentence instead of a traceback."""

import errno
from collections.abc import Iterator
from typing import Final

import click
import structlog

from schemas.errors import Misconfigured, RinghookError, Unavailable
from workers.bus.contract import BusBroken
from workers.runtime.supervise import Fatal

log = structlog.get_logger()
EXPLAINED: Final = (RinghookError, Fatal, BusBroken)  # their words say it all
MISTAKE: Final = 2  # the configuration, or something it names, is to be mended first
FAILURE: Final = 1
UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EFBIG})


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that task groups have wrapped, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def reason(error: BaseException) -> BaseException:
    """Return the error that explains the end best: a mistake of the configuration, else one of ours, else the first."""
    found = list(leaves(error))
    return next((each for kind in (Misconfigured, *EXPLAINED) for each in found if isinstance(each, kind)), found[0])


def ended(error: Exception) -> int:
    """Tell why, and return the exit code: a sentence for whoever typed a command, one log line for a role that ran."""
    why = reason(error)
    if isinstance(why, Misconfigured):
        click.echo(str(why), err=True)
        return MISTAKE
    if isinstance(why, OSError) and why.errno in UNWRITABLE and why.filename is None:
        click.echo(f"The output cannot be written: {why.strerror}", err=True)
        return FAILURE
    if not structlog.is_configured():  # no role has begun to run
        if not isinstance(why, EXPLAINED):
            raise error
        click.echo(str(why), err=True)
        return MISTAKE if isinstance(why, Unavailable) else FAILURE
    log.critical("process.ended", why=str(why), kind=type(why).__name__, exc_info=None if isinstance(why, EXPLAINED) else why)
    return FAILURE
