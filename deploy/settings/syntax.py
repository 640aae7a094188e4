"""What is wrong with a text that is no TOML: the parser's words in those of whoever wrote the text. Pure."""

import re
import tomllib
from typing import Final

from deploy.settings.lines import HEADER, KEY

_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_TWICE: Final = ("Cannot declare", "Cannot overwrite a value")
_WORDS: Final = {
    "Invalid value": 'what stands here is no value: text needs quotes ("…"), true and false small letters',
    "Expected '=' after a key": "there is no = after the name: write name = value",
    "Expected newline or end of document": "something follows the value: one name = value a line, text between quotes",
    "Expected ']": "a bracket is missing: [name], or [[name]] where there may be several",
    "Invalid statement": "is neither name = value nor [table] (a comment begins with #)",
    "Invalid initial character for a key": "is neither name = value nor [table] (a comment begins with #)",
    "Illegal character '\\n'": "the quote that ends the text is missing",
    "Found invalid character '\\n'": "the quote that ends the text is missing",
    "Unescaped '\\'": "a \\ in text stands between '…', or is written \\\\",
    "Invalid hex value": "a \\ in text stands between '…', or is written \\\\",
    "Unclosed array": "a list is not closed: a comma or its ] is missing",
    "Duplicate inline table key": "the same name stands twice between { and }",
}


def told(error: ValueError, text: str) -> tuple[int | None, str]:
    """Return the line, where one is known, and the words for an error of the parser on this text."""
    found = _AT.search(str(error))
    ended = found is not None and found[1] is None
    line = int(found[1]) if found and found[1] else _begun(text)
    reason = _AT.sub("", str(error))
    return line, f"is not TOML: {_plain(reason, text, line, ended=ended)}"


def _plain(reason: str, text: str, line: int | None, *, ended: bool) -> str:
    if line and reason.startswith(_TWICE):
        lines = text.split("\n")
        return _twice(lines[: line - 1], lines[line - 1])
    if ended:
        return "what begins here is never ended: a value, a quote or a bracket is missing"
    return next((words for start, words in _WORDS.items() if reason.startswith(start)), reason)


def _twice(before: list[str], line: str) -> str:
    if (header := HEADER.match(line)) is None:
        key = KEY.match(line)
        return f"{key[1] if key else 'a name'} stands a second time in its table: keep one"
    found = (HEADER.match(other) for other in before)
    first = next(((number, other) for number, other in enumerate(found, 1) if other and other[2] == header[2]), None)
    if first is None:
        return f"{header[2]} is not a table alone: it stands above as name = value, too"
    if first[1][1] != header[1]:
        return f"[{header[2]}] and [[{header[2]}]] cannot both stand; the other is in line {first[0]}"
    return f"{header[0].strip()} stands here a second time, first in line {first[0]}: keep one"


def _begun(text: str) -> int | None:
    """Return the line on which begins what is never ended: all before it is TOML."""
    lines = text.split("\n")
    for number in range(len(lines), 0, -1):
        try:
            tomllib.loads("\n".join(lines[: number - 1]))
        except tomllib.TOMLDecodeError:
            continue
        return number
    return None
