"""Why an ID token that came from the issuer itself is not believed, in words for the operator: nobody signs in so."""

from collections.abc import Mapping
from typing import Final

_CLOCK: Final = "its times are not now: a clock is wrong, the issuer's or ours"
_MEANINGS: Final[Mapping[str, str]] = {
    "issuer": "it names another issuer: [signin] issuer must be as the issuer calls itself, to the letter",
    "audience": "it is for another client: is client_id in [signin] the one that the issuer knows?",
    "party": "it was made for another party (azp): is client_id in [signin] the one that the issuer knows?",
    "auth_time": "it does not say auth_time, or an old one: the issuer must heed max_age=0, and tell when the user signed in",
    "algorithm": "it is signed by an algorithm that is not accepted here (RS256, ES256, EdDSA and their kin are)",
    "key": "no key of the issuer's jwks_uri fits it",
    "signature": "its signature is not by the issuer's key",
    "subject": "its subject is not 1 to 255 printable ASCII signs",
    "unreadable": "it cannot be read",
    "expired": _CLOCK,
    "issued": _CLOCK,
    "future": _CLOCK,
}


def meaning(reason: str) -> str | None:
    """Return what a refusal's reason (`id_token_…`) means for the operator; None where only this one sign-in is at fault."""
    return _MEANINGS.get(reason.removeprefix("id_token_"))
