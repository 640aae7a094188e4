"""What the sign-in pages say, in plain words."""

import re
from typing import Final

from schemas.findings.trying import OURS, TRIED_AGAIN, UNTOLD

AGAIN: Final = "Open the Ring app and tap Sign In there again."
MALFORMED: Final = f"This sign-in address is not complete, or was changed on its way. {AGAIN}"
STALE: Final = f"This sign-in was begun more than ten minutes ago. {AGAIN}"
FUTURE: Final = f"This sign-in address comes from the future: a clock is wrong, ours or Ring's. {AGAIN}"
ANOTHER_BROWSER: Final = f"This sign-in was not begun in this browser, or was begun again since. {AGAIN}"
LED_NOWHERE: Final = (
    "this sign-in led nowhere: tap Sign In in the Ring app again; if that does not help, remove the app in the Ring app "
    "and connect it again"
)
TOO_LATE: Final = f"That took too long. {AGAIN}"
FROM_ELSEWHERE: Final = f"This request came from another site. {AGAIN}"
NOT_SIGNED_IN: Final = f"You were not signed in, so nothing was connected. {AGAIN}"
CODE_USED: Final = f"This sign-in was used already, or took too long. {AGAIN}"
NOT_BELIEVED: Final = f"We could not make sure who signed in, so nothing was connected. {AGAIN}"
TOO_LONG: Final = "This address is too long. If you came from the Ring app, tap Sign In there again."
OTHER_WAY: Final = f"This address is a step on the way to connect Ring, and cannot be opened like this. {AGAIN}"
WRONG_PASSCODE: Final = "That is not the passcode."
TOO_MANY_TRIES: Final = "There were too many wrong passcodes. Wait a minute, go back, and try again."
TRY_LATER: Final = "We cannot look just now. This page tries again by itself."
BROKEN: Final = "Something on our side does not work just now. Please try again in a minute."
ONLY_IF: Final = "Continue only if you just tapped Sign In in your own Ring app."

TITLES: Final = {
    400: "This address cannot be used",
    403: "This cannot go on here",
    404: "There is nothing here",
    405: "Not this way",
    410: "Too late",
    413: "Too large",
    429: "Too many tries",
    503: "One moment",
}
HEADINGS: Final = {"future": "A clock is wrong"}  # by a refusal's reason, where its status alone would say too little
# what the live page calls each step that it lists; others as they are
STEPS: Final = {
    "received": "Ring told us that you connect",
    "exchanged": "Ring let us in",
    "unclaimed": "Ring told us which account it is",
    "signed in": "You signed in and confirmed",
    "claimed": "We found your account",
    "awaiting": "We told Ring that it is you",
    "completed": "Ring confirmed the connection",
    "expired": "The time for it ran out",
    "lost": "The connection broke",
    "rejected": "It was not accepted",
    "contested": "Another person confirmed it too",
    "removed": "The app was removed",
}
# by state: what the live page says, and whether anything more will come
STATES: Final = {
    "started": (
        "Not confirmed yet",
        "You have not confirmed the connection. Go back and confirm it, or tap Sign In in the Ring app again.",
        True,
    ),
    "requested": ("Connecting", "You have confirmed. We are connecting your Ring account now.", False),
    "received": ("Connecting", "You have confirmed. We are connecting your Ring account now.", False),
    "exchanged": ("Connecting", "Ring has let us in; we are finding out which account this is.", False),
    "unclaimed": ("Connecting", "We are waiting for Ring to tell us about your account.", False),
    "claimed": ("Connecting", "Your account was found. We are telling Ring.", False),
    "awaiting": ("Connecting", "Ring knows. One last step is left.", False),
    "completed": ("Connected", "Your Ring account is connected. You can close this page.", True),
    "expired": ("Not connected", f"The sign-in ran out of time. {AGAIN}", True),
    "lost": (
        "Not connected",
        "The connection broke where it cannot be resumed. Remove the app in Ring, and add it again.",
        True,
    ),
    "rejected": ("Not connected", f"The sign-in was not accepted. {AGAIN}", True),
    "contested": ("Not connected", f"Two people confirmed the same sign-in, so neither was connected. {AGAIN}", True),
    "removed": ("Disconnected", "The app was removed in Ring. Add it again there to connect.", True),
}
WAITING: Final = ("One moment", TRY_LATER, False)
FAILED: Final = frozenset({"expired", "lost", "rejected", "contested", "removed"})
TROUBLE: Final = "Ring cannot be reached just now, or does not take this up; we go on trying by ourselves"
TROUBLE_OF_OURS: Final = "Something on our side does not work just now; we go on trying by ourselves"
_RINGS: Final = re.compile(r"\d{3}\b|no connection to Ring")  # how the words of a Ring that answered, or did not, begin
_IN_BRACKETS: Final = re.compile(rf" \((?:{_RINGS.pattern}|{re.escape(OURS)}).*\)", re.DOTALL)
HOME: Final = (
    "This service connects Ring to our app. To start, open the Ring app, go to the Ring Appstore, and choose our app there."
)


def plain(finding: str | None) -> str | None:
    """Return a finding as a user is told it: without Ring's answer, where it is, or what is to be mended here.

    What remains to be done after the ten minutes stays as it is.
    """
    if finding is None or finding == UNTOLD:
        return finding
    if (wrong := finding.removesuffix(UNTOLD)) != finding:
        return f"{_plain(wrong.rstrip()).rstrip('.')}. {UNTOLD}"
    return _plain(finding)


def _plain(finding: str) -> str:
    if finding.startswith(OURS):
        return TROUBLE_OF_OURS
    words = _IN_BRACKETS.sub("", finding)
    alone = words == finding and finding.endswith(TRIED_AGAIN)  # nothing but what went wrong between Ring and us
    return TROUBLE if alone or _RINGS.match(finding) else words


def spoken(state: str, finding: str | None) -> tuple[str, str, str | None, bool]:
    """Return the live page's title, its sentence, a warning beside it, and whether more will come.

    Where a link failed, the finding is the sentence: it knows more than the state, and its remedy is the one that helps.
    """
    title, words, final = STATES.get(state, WAITING)
    if finding is None or finding == words:
        return title, words, None, not final
    if state in FAILED:
        return title, sentence(finding), None, not final
    return title, words, sentence(finding), not final


def sentence(text: str) -> str:
    """Return a finding as it stands on a page: with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
