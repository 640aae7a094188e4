"""Texts of files, and why a file gives none."""

import codecs
from pathlib import Path
from typing import Final

import msgspec

LARGEST: Final = 2**20  # bytes
NO_TEXT: Final = "is not UTF-8 text: save it as UTF-8"


class Value(msgspec.Struct, frozen=True):
    """A text and where it stands, for error messages (`.env:7`, `environment`)."""

    text: str
    where: str


class Unread(ValueError):
    """A file that gives no text, in words that show nothing of it; `line` is the first that fails, where one does."""

    def __init__(self, words: str, line: int | None = None) -> None:
        super().__init__(words)
        self.line = line


def read(path: Path) -> str:
    """Return the text of a file, its lines ended by a line feed each; FileNotFoundError or Unread where there is none."""
    text = read_broken(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if not is_text(line):
            raise Unread(NO_TEXT, number)
    return text


def read_broken(path: Path) -> str:
    """Return the same where not all of it is UTF-8: what is none is no character then (PEP 383)."""
    try:
        data = _bytes(path)
    except (FileNotFoundError, Unread):
        raise
    except OSError as error:
        raise Unread(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # of a NUL
        raise Unread("cannot be read: no file has such a name") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Unread(NO_TEXT, 1)
    text = data.decode("utf-8-sig", "surrogateescape")  # Windows' editors begin with a mark
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_text(line: str) -> bool:
    """Say whether a line was text: bytes that are none stand there as lone surrogates."""
    return not any("\udc80" <= sign <= "\udcff" for sign in line)


def _bytes(path: Path) -> bytes:
    """Return what a file holds; of one that has no end (`/dev/zero`) no more than shows that it is none of ours."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Unread(f"is larger than {LARGEST // 2**20} MiB: this is no file of settings")
    return data


def place(name: str, line: int | None) -> str:
    """Return `file:line`, or the file where no line is known."""
    return f"{name}:{line}" if line else name
