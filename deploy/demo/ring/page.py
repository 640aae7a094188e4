"""The Ring app on one page, for a browser: who has confirmed what, and a button for each thing a user can do."""

import html
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Protocol

from aiohttp import web

from deploy.demo.ring.ledger import Ledger
from deploy.demo.ring.sender import Sender
from deploy.demo.ring.state import Account, World
from deploy.demo.ring.webhooks import TYPES, Webhook

STYLE = (
    "body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}ul,ol{padding-left:1.2rem}"
    "form{display:inline}button,select{font:inherit;max-width:100%;margin:.2rem 0}li{margin:.7rem 0}code{font-size:.8em}"
)
VIEWPORT = '<meta name=viewport content="width=device-width, initial-scale=1">'

STANDINGS = {
    None: "not connected: confirm the app",
    "pending": "pending: now Sign In",
    "awaiting": "awaiting: the partner is to complete it",
    "completed": "completed",
}
BUTTONS = {"confirm": "Confirm the app", "sign-in": "Sign In", "remove": "Remove"}


class User(Protocol):
    """What a user's finger can reach (`ring.Ring` is one)."""

    sender: Sender

    @property
    def world(self) -> World:
        """Whom there is."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What was seen."""
        ...

    async def connect(self, account: Account) -> int | None:
        """Confirm in the Ring app."""
        ...

    def redirect_url(self, account: Account) -> str:
        """Tap Sign In."""
        ...

    def make(self, type: str, account: Account) -> Webhook:  # noqa: A002  # Ring's word
        """Let something happen at home."""
        ...

    async def remove(self, account: Account) -> Webhook:
        """Remove the app."""
        ...


def add(app: web.Application, user: User) -> None:
    """Add the page and its buttons to Ring's application."""

    def button(act: Callable[[User, web.Request, Account], Awaitable[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def pressed(request: web.Request) -> web.Response:
            chosen = islice(user.world.accounts.values(), int(request.match_info["number"]), None)
            if (account := next(chosen, None)) is None:
                raise web.HTTPNotFound
            raise web.HTTPSeeOther(await act(user, request, account))

        return pressed

    async def shown(_: web.Request) -> web.Response:
        return web.Response(text=render(user.world, user.ledger), content_type="text/html")

    async def joined(_: web.Request) -> web.Response:
        user.world.add_account()
        raise web.HTTPSeeOther("/")

    app.router.add_get("/", shown)
    app.router.add_post("/users", joined)
    for name, act in {"confirm": _confirm, "sign-in": _sign_in, "happen": _happen, "remove": _remove}.items():
        app.router.add_post(rf"/users/{{number:\d{{1,4}}}}/{name}", button(act))


def render(world: World, ledger: Ledger) -> str:
    """Return the page."""
    users = "".join(_user(number, account) for number, account in enumerate(world.accounts.values()))
    seen = "".join(f"<li>{call.method} {call.path} → {call.status}</li>" for call in ledger.calls[-10:])
    tries = "".join(f"<li>try {one.number} of {html.escape(one.request_id)} → {one.status}</li>" for one in ledger.attempts[-10:])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8>{VIEWPORT}"
        f"<title>Ring, simulated</title><style>{STYLE}</style><h1>Ring, simulated</h1>"
        f"<ul>{users}</ul><form method=post action=/users><button>Another user</button></form>"
        f"<h2>Calls to Ring</h2><ol>{seen}</ol><h2>Webhooks</h2><ol>{tries}</ol>"
    )


def _user(number: int, account: Account) -> str:
    standing = STANDINGS[account.integration.standing if account.integration else None]
    options = "".join(f"<option>{type_}</option>" for type_ in TYPES if not type_.startswith("app_integration"))
    return (
        f"<li><b>User {number + 1}</b>: {standing} <code>{html.escape(account.id[:30])}…</code><br>"
        f"{''.join(_form(number, action, words) for action, words in BUTTONS.items())}"
        f"<form method=post action=/users/{number}/happen><select name=type>{options}</select>"
        "<button>happens</button></form></li>"
    )


def _form(number: int, action: str, words: str) -> str:
    return f"<form method=post action=/users/{number}/{action}><button>{words}</button></form>"


async def _confirm(user: User, _: web.Request, account: Account) -> str:
    await user.connect(account)
    return "/"


async def _sign_in(user: User, _: web.Request, account: Account) -> str:
    return user.redirect_url(account)


async def _happen(user: User, request: web.Request, account: Account) -> str:
    user.sender.send(user.make(str((await request.post()).get("type", "")), account))
    return "/"


async def _remove(user: User, _: web.Request, account: Account) -> str:
    await user.remove(account)
    return "/"
