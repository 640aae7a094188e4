"""`ringhook accounts show ID` and `forget ID`: one account in plain words, and its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from deploy.command.directory import DIRECTORY
from deploy.command.named import ACCOUNT
from deploy.command.v1 import ask

ASKED: Final = (
    "All that is stored of {account} is deleted, nothing is sent for it any more, and it cannot be linked again. This cannot be "
    "undone. Go on?"
)
DONE: Final = "{account} is forgotten: nothing of it is stored and nothing is sent for it any more."
UNDER_WAY: Final = (
    "{account} is being forgotten: nothing is sent for it any more, and `ringhook linker` (or `up`) deletes what is stored as "
    "soon as it runs. Say the same command again to hear whether it is done."
)
UNKNOWN: Final = (
    "No link of {account} is known. If it was not forgotten before, look whether the id is the one you mean "
    "(`ringhook accounts list`): what waited for this one goes nowhere, nothing will be sent for it, and it cannot be linked."
)
TOPICS: Final = (
    "Its events are in topics still: the last of their segments goes by {day}. Backups, and what your services keep, are yours."
)


@click.command()
@click.argument("account", type=ACCOUNT)
@click.option("--json", "as_json", is_flag=True, help="All that /v1/accounts/{id} says, as one JSON object.")
@DIRECTORY
def show(account: str, directory: Path, *, as_json: bool) -> None:
    """Tell how an account stands, and each step of its links."""
    seen = ask(directory, "GET", _path(account))
    click.echo(orjson.dumps(seen).decode() if as_json else "\n".join(told(seen)))


@click.command()
@click.argument("account", type=ACCOUNT)
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="The answer as one JSON object.")
@DIRECTORY
def forget(account: str, directory: Path, *, yes: bool, as_json: bool) -> None:
    """Delete all that is stored of an account, and send nothing for it ever again."""
    if not yes:
        click.confirm(ASKED.format(account=account), abort=True)
    said = ask(directory, "POST", f"{_path(account)}/forget")
    if as_json:
        click.echo(orjson.dumps(said).decode())
        return
    click.echo((UNKNOWN if not said["known"] else DONE if said["forgotten"] else UNDER_WAY).format(account=account))
    click.echo(TOPICS.format(day=said["gone_by"][:10]))


def told(seen: dict[str, Any]) -> Iterator[str]:
    """Return an account's facts as lines."""
    now, last = (seen[name] for name in ("partner_user", "last_partner_user"))
    user = f", linked to your user {now}" if now else f", once linked to your user {last}" if last else ""
    yield f"{seen['account']} is {seen['state']}{user}, since {_minute(seen['changed_at'])}."
    if seen["finding"]:
        yield seen["finding"][0].upper() + seen["finding"][1:] + ("" if seen["finding"].endswith(".") else ".")
    if seen["tokens_end_at"]:
        yield f"Its tokens last until {_minute(seen['tokens_end_at'])} and are renewed before."
    if plan := seen["subscription"]:
        yield _subscription(plan)
    for grant in seen["grants"]:
        steps = ", ".join(f"{step['name']} {_minute(step['at'])}" for step in grant["steps"])
        yield f"Link {grant['generation']}: {steps}."


def _subscription(plan: dict[str, Any]) -> str:
    known = " ".join(word for word in (plan["plan_id"], f"({plan['kind']})" if plan["kind"] else None) if word)
    until = f", until {plan['expires_at']}" if plan["expires_at"] else ""
    return f"Its Ring subscription is {plan['state']}{': ' if known else ''}{known}{until}."


def _minute(at: str) -> str:
    return f"{at[:10]} {at[11:16]}Z"


def _path(account: str) -> str:
    return f"/v1/accounts/{quote(account, safe='')}"
