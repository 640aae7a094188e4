"""The confirmation page: linking takes an act, and this is where the user sees for whom."""

from datetime import timedelta
from typing import Final

from aiohttp import web

from ingress.link.attempt import Attempt, Seals, Signed
from ingress.link.pages import page
from ingress.link.words import ONLY_IF
from schemas.ring.nonce import WINDOW, sent_at

CONFIRM: Final = "/ring/account-link/confirm"


def confirmation(
    seals: Seals, attempt: Attempt, partner_user: str, account_identifier: str | None, known_as: str | None = None
) -> web.Response:
    """Return the page with its one form; what the form carries is good as long as the nonce is."""
    sent = sent_at(attempt.time)
    if sent is None:
        raise AssertionError("an attempt's time was checked before it was sealed")
    until = sent + WINDOW + timedelta(seconds=1)
    signed = Signed(attempt=attempt.id, partner_user=partner_user, account_identifier=account_identifier, until=until)
    return page(
        "confirm.html",
        title="Connect Ring?",
        partner_user=known_as or partner_user,
        account_identifier=account_identifier,
        claim=seals.claim(signed, attempt),
        action=CONFIRM,
        only_if=ONLY_IF,
    )
