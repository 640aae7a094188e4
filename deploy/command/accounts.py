"""`ringhook accounts`; `list`: each account and how it stands, or those whose users must connect the app again, and by when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import orjson

from deploy.command.account import forget, show
from deploy.command.directory import DIRECTORY
from deploy.command.v1 import ask

PAGE: Final = 500
WORDS: Final = {
    "failing": "its tokens could not be renewed for days",
    "unanswered": "the answer to a renewal is missing",
    "unreadable": "the key that sealed its tokens is not configured",
    "stray": "the app that it came by is not configured any more",
    "lost_refused": "Ring does not renew its tokens",
    "lost_unanswered": "its new tokens never arrived",
    "lost_expired": "its tokens were not renewed for 30 days",
    "lost_unaccepted": "Ring does not take its tokens",
    "lost_restored": "it was linked after the backup that the store was restored from",
}


@click.group()
def accounts() -> None:
    """Look at the accounts that were ever linked, and forget one."""


accounts.add_command(show)
accounts.add_command(forget)


@accounts.command("list")
@click.option("--at-risk", is_flag=True, help="Only those whose users must connect the app again, or may have to.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@DIRECTORY
def list_(directory: Path, *, at_risk: bool, as_json: bool) -> None:
    """Print each account, its state, your user, and until when its tokens last unless they are renewed before."""
    count = 0
    for count, account in enumerate(_all(directory, at_risk=at_risk), start=1):  # noqa: B007 - it is told below
        click.echo(orjson.dumps(account).decode() if as_json else line(account))
    if not as_json and not count:
        click.echo("No account is at risk." if at_risk else "No account is known yet.")


def line(account: dict[str, Any]) -> str:
    """Return an account in a line of words."""
    user = account["partner_user"] or (account["last_partner_user"] if account["risk"] else None)
    whose = f"  user {user}" if user else ""
    risk = account["risk"]
    must = "its user must sign in for its new connection" if account["state"] == "unclaimed" else "must be connected again"
    lost = f"  {must}: {WORDS.get(risk, risk)}" if risk and risk.startswith("lost_") else ""
    until = f"  tokens last until {account['tokens_end_at'][:16]}Z" if account["tokens_end_at"] else ""
    doubt = f"  at risk: {WORDS.get(risk, risk)}" if risk and not lost else ""
    return f"{account['account']}  {account['state']}{whose}{lost}{doubt}{until}"


def _all(directory: Path, *, at_risk: bool) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = ask(directory, "GET", "/v1/accounts", after=after, limit=PAGE, at_risk=str(at_risk).lower())
        yield from page["accounts"]
        if not (after := page["next"]):
            return
