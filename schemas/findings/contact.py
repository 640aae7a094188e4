"""What the first contacts of Ring and of browsers say about where a connection stands, and what to do next."""

from collections.abc import Collection
from typing import Final

import msgspec

from schemas.records import Notice

_NEXT: Final = (
    'the portal\'s "Log in with Ring" button only allowlists a tester, it calls none of your URLs. Next: '
    "in the Ring app, signed in to the allowlisted account, open the Ring Appstore, choose your app, select devices, confirm. "
    "Needed for it: a device at a US address and an active paid Ring Protect plan."
)
NO_CALL: Final = f"No call from Ring yet: {_NEXT}"
CODE_ONLY: Final = (
    "Ring sent an authorization code, and it was good. Next: Ring sends the user's browser to the Account Link URL, and the user "
    "signs in with you and confirms."
)
REDIRECT: Final = (
    "A user signed in and confirmed, and Ring's nonce named their account. Next: the link is completed, and Ring sends its first "
    "signed webhook."
)
CONNECTED: Final = "Ring's signed webhooks arrive."
WAITING: Final = (
    "Events wait here for their account's link: they are delivered once its user taps Sign In in the Ring app, signs in with you "
    "and confirms. `ringhook accounts list` names the accounts that nobody has claimed."
)
NONE_PROVEN: Final = "No call has proved yet to be Ring's own."
WRONG_URL: Final = (
    "Calls came to the Token Exchange URL with another secret than RINGHOOK_EXCHANGE_SECRET: in the portal it must read "
    "/ring/token-exchange/ and then the value that .env has for it."
)
UNPROVEN: Final = (
    "Calls came to {urls}, where anybody can call. If they were Ring's: is RINGHOOK_RING_HMAC_KEY the key that the portal "
    "showed, as it stood there?"
)
ONLY_STRANGERS: Final = f"If they were strangers': {_NEXT}"
_URLS: Final = {
    "code": "the Token Exchange URL",
    "code.form_unknown": "the Token Exchange URL",
    "redirect": "the Account Link URL",
    "redirect.stale": "the Account Link URL",
    "webhook": "the Webhook URL",
    "webhook.refused": "the Webhook URL",
}


class Contact(msgspec.Struct, frozen=True):
    """A kind of call that came at least once, and whether a signature, nonce or exchange proved it to be Ring's."""

    kind: Notice
    proven: bool


def story(contacts: Collection[Contact], *, waiting: bool = False) -> str:
    """Return in plain words how far Ring has come with us, what waits for a link, and the next step."""
    return f"{_arrived(contacts)} {WAITING}" if waiting else _arrived(contacts)


def _arrived(contacts: Collection[Contact]) -> str:
    proven = {contact.kind for contact in contacts if contact.proven}
    if "webhook" in proven:
        return CONNECTED
    if "redirect" in proven:
        return REDIRECT
    if "code" in proven:
        return CODE_ONLY
    return _unproven({contact.kind for contact in contacts})


def _unproven(seen: Collection[Notice]) -> str:
    urls = " and ".join(sorted({_URLS[kind] for kind in seen if kind in _URLS}))
    calls = [*([WRONG_URL] if "code.wrong_secret" in seen else []), *([UNPROVEN.format(urls=urls)] if urls else [])]
    return " ".join([NONE_PROVEN, *calls, ONLY_STRANGERS]) if calls else NO_CALL
