"""One value of a `.env` file changed in place: all else stays as it was, and whoever reads finds the old file or the new one."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from schemas.errors import Misconfigured

_ASSIGNMENT: Final = re.compile(rb"(\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*)[^\r]*(\r?)")


def set_value(path: Path, line: int, name: str, value: str) -> None:
    """Put `value` into the line that holds `name`; the file is then readable by its owner alone.

    Misconfigured: it is not there, cannot be written, or was changed meanwhile; then nothing was changed.
    """
    real = path.resolve()  # what a symbolic link leads to, not the link
    try:
        before = real.read_bytes()
        _replace(real, before, _with(before, line, name, value))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be rewritten: {error.strerror}. Nothing was changed") from error


def _with(data: bytes, line: int, name: str, value: str) -> bytes:
    lines = data.split(b"\n")
    found = _ASSIGNMENT.fullmatch(lines[line - 1]) if line <= len(lines) else None
    if found is None or found[2] != name.encode():
        raise Misconfigured(f"line {line} of .env does not hold {name}= any more: nothing was changed")
    lines[line - 1] = found[1] + value.encode() + found[3]
    return b"\n".join(lines)


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """Write beside it, and rename: a kill at any moment leaves the whole old file or the whole new one."""
    new, owner = path.with_name(f"{path.name}.new"), path.stat()
    new.unlink(missing_ok=True)  # of one that was killed
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR), "wb") as file:
            if (owner.st_uid, owner.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # root must not lock the service out of its own file
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        if path.read_bytes() != before:
            raise Misconfigured(f"{path} was changed by somebody else just now: nothing was changed, try again")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    _settle(path.parent)


def _settle(directory: Path) -> None:
    """Let the rename outlive a loss of power: what is sealed next must find its key again."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
