"""What `ringhook init` asks for, where in Ring's portal it stands, and what is wrong with what was pasted."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import click

from deploy.settings import values

PUBLIC_URL: Final = "RINGHOOK_PUBLIC_URL"
SHORTEST: Final = 8  # characters of a credential; a shorter one was cut as it was copied
_QUOTES: Final = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"  # plain and typographic
_DOTS: Final = ("…", "...", "***", "•••")
INTRO: Final = "Four values come from Ring's developer portal or are yours. Enter leaves one out: it can be filled in later."


class Question(NamedTuple):
    """One value."""

    name: str
    where: str
    hidden: bool
    read: Callable[[str], Any]  # raises ValueError in words


QUESTIONS: Final = (
    Question(
        "RINGHOOK_RING_CLIENT_ID",
        "Client id: in the portal, your app, its credentials. Staging and production share it.",
        hidden=False,
        read=values.word,
    ),
    Question(
        "RINGHOOK_RING_CLIENT_SECRET",
        "Client secret: shown beside the client id, and perhaps only once. (It is not shown as you type.)",
        hidden=True,
        read=values.secret,
    ),
    Question(
        "RINGHOOK_RING_HMAC_KEY",
        "HMAC signing key: shown once, and it cannot be made anew for this app. Paste it as it stands there: it is not decoded.",
        hidden=True,
        read=values.secret,
    ),
    Question(
        PUBLIC_URL,
        "Public URL: where Ring and browsers reach this installation, https://… without a path.",
        hidden=False,
        read=values.base_url,
    ),
)
Prompt = Callable[[str, bool], str]


def asked(given: Mapping[str, str], say: Callable[[str], None], prompt: Prompt) -> dict[str, str]:
    """Return the values that were given, and those that were asked for; what is damaged is asked for again."""
    known = dict(given)
    missing = [question for question in QUESTIONS if question.name not in known]
    if missing:
        say(INTRO)
    for question in missing:
        say(f"\n{question.where}")
        while text := prompt(question.name, question.hidden):
            if (wrong := damage(question, text, known)) is None:
                known[question.name] = values.base_url(text) if question.name == PUBLIC_URL else text
                break
            say(f"  This {wrong}.")
    return known


def damage(question: Question, text: str, known: Mapping[str, str]) -> str | None:
    """Return what is wrong with a pasted value, to follow "This"; None where it may be right."""
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        return "has quotes around it: paste what stands between them"
    if any(dots in text for dots in _DOTS):
        return "is cut or hidden by dots: let the portal show it whole"
    try:
        question.read(text)
    except ValueError as error:
        return str(error)
    if question.name == PUBLIC_URL:
        return None
    if len(text) < SHORTEST:
        return f"is shorter than {SHORTEST} characters: it was cut as it was copied"
    twin = next((name for name, other in known.items() if other == text), None)
    return f"is {twin}'s value" if twin else None


def on_a_terminal(name: str, hidden: bool) -> str:  # noqa: FBT001 - a Prompt
    """Ask whoever sits there; nothing where they only press Enter."""
    said: str = click.prompt(f"  {name}", default="", show_default=False, hide_input=hidden)
    return said
