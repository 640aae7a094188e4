"""Ring as a demo or a test holds it: users who confirm, tap and remove; codes and webhooks that go out; a ledger to read."""

import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from deploy.demo.ring import page, webhooks
from deploy.demo.ring.app import application
from deploy.demo.ring.books import Books
from deploy.demo.ring.faults import Faults
from deploy.demo.ring.ledger import Ledger
from deploy.demo.ring.sender import JAVA, Sender
from deploy.demo.ring.state import Account, Client, Device, World

CODE_ANSWER_S = 10.0
ODD_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Partner:
    """The URLs a partner registers, of which Ring calls the first two and sends browsers to the third."""

    token_exchange_url: str
    webhook_url: str
    account_link_url: str


@dataclass
class Ring:
    """One simulated Ring, listening at `url` (the base of both its OAuth and its API)."""

    url: str
    books: Books
    partner: Partner
    sender: Sender
    session: aiohttp.ClientSession
    codes: dict[str, str] = field(default_factory=dict)  # account id → the code it was last sent with

    @property
    def world(self) -> World:
        """Accounts, codes, grants, and the switches between documented answers."""
        return self.books.world

    @property
    def ledger(self) -> Ledger:
        """What was seen."""
        return self.books.ledger

    @property
    def faults(self) -> Faults:
        """What is to go wrong next."""
        return self.books.faults

    async def connect(self, account: Account, *, media_type: str | None = ODD_MEDIA_TYPE) -> int | None:
        """Let the user confirm in the Ring app: POST the code and return the partner's answer (None: none in 10 s)."""
        self.codes[account.id] = self.world.confirm(account, self.books.clock())
        return await self.post_code(self.codes[account.id], media_type=media_type)

    async def post_code(self, code: str, *, media_type: str | None = ODD_MEDIA_TYPE) -> int | None:
        """POST a code as Ring's Java client does: a form, under a media type that cannot be relied on (None: none at all)."""
        headers = {"User-Agent": JAVA, "Accept": "*/*"} | ({"Content-Type": media_type} if media_type else {})
        body = urlencode({"code": code}).encode()
        skip = () if media_type else ("Content-Type",)
        timeout = aiohttp.ClientTimeout(total=CODE_ANSWER_S)
        try:
            async with self.session.post(
                self.partner.token_exchange_url,
                data=body,
                headers=headers,
                skip_auto_headers=skip,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                return answer.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    def redirect_url(self, account: Account, *, at: float | None = None) -> str:
        """Let the user tap Sign In (`at`: epoch seconds, now unless said): where Ring sends the browser."""
        query = self.world.redirect(account, self.books.clock() if at is None else at)
        return f"{self.partner.account_link_url}?{urlencode(query)}"

    def make(self, type: str, account: Account, device: Device | None = None) -> webhooks.Webhook:  # noqa: A002  # Ring's word
        """Make a plain webhook of any type, of now."""
        client_id = self.world.client.client_id
        return webhooks.of_type(type, account, device or account.devices[0], self.now_ns(), client_id=client_id)

    def every(self, account: Account) -> list[webhooks.Webhook]:
        """Make one webhook of each documented type and each known oddity."""
        return list(webhooks.every(account, self.now_ns(), client_id=self.world.client.client_id))

    async def remove(self, account: Account) -> webhooks.Webhook:
        """Let the user remove the app: the tokens die at once, and the webhook that says so goes out."""
        webhook = self.make("app_integration_removed", account)
        self.world.remove(account)
        self.sender.send(webhook)
        return webhook

    def now_ns(self) -> int:
        """Return the time with digits that look like nanoseconds."""
        return int(self.books.clock() * 1_000_000) * 1_000 + uuid.uuid4().int % 1_000


@asynccontextmanager
async def running(
    partner: Partner, client: Client, *, port: int = 0, lapse: float = 1, clock: Callable[[], float] = time.time
) -> AsyncIterator[Ring]:
    """Run Ring on 127.0.0.1 (`port` 0: a free one) for the length of a block; `lapse` divides the waits of its retries."""
    books = Books(World(client), clock=clock)
    listening = socket.create_server(("127.0.0.1", port))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)) as session:
        sender = Sender(partner.webhook_url, client.hmac_key, session, books.ledger, clock, lapse)
        ring = Ring(url, books, partner, sender, session)
        books.completed = lambda account: sender.send(ring.make("app_integration_added", account))
        app = application(books)
        page.add(app, ring)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield ring
        finally:
            await sender.stop()
            await runner.cleanup()
