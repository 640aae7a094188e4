"""Ring as a demo or a test holds it: users who confirm, tap and remove; codes and webhooks that go out; a ledger to read."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from deploy.demo.ring import page, webhooks
from deploy.demo.ring.app import application
from deploy.demo.ring.books import Books
from deploy.demo.ring.door import Door
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
    door: Door
    apps: dict[str, Partner] = field(default_factory=dict)  # client id of a further app → its URLs
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

    def add_app(self, client: Client, partner: Partner) -> None:
        """Let the partner have another app; how an account stands with it is `account.under(client.client_id)`."""
        self.world.others[client.client_id] = client
        self.apps[client.client_id] = partner

    async def connect(self, account: Account, *, media_type: str | None = ODD_MEDIA_TYPE) -> int | None:
        """Let the user confirm in the Ring app: POST the code and return the partner's answer (None: none in 10 s)."""
        code = self.codes[account.id] = self.world.confirm(account, self.books.now())
        return await self.post_code(code, media_type=media_type, client_id=account.client_id)

    async def post_code(
        self, code: str, *, media_type: str | None = ODD_MEDIA_TYPE, client_id: str = "", url: str | None = None
    ) -> int | None:
        """POST a code as Ring's Java client does: a form, under a media type that cannot be relied on (None: none at all)."""
        headers = {"User-Agent": JAVA, "Accept": "*/*"} | ({"Content-Type": media_type} if media_type else {})
        body = urlencode({"code": code}).encode()
        skip = () if media_type else ("Content-Type",)
        timeout = aiohttp.ClientTimeout(total=CODE_ANSWER_S)
        try:
            async with self.session.post(
                url or self._partner(client_id).token_exchange_url,
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
        query = self.world.redirect(account, self.books.now() if at is None else at)
        return f"{self._partner(account.client_id).account_link_url}?{urlencode(query)}"

    def make(self, type: str, account: Account, device: Device | None = None) -> webhooks.Webhook:  # noqa: A002  # Ring's word
        """Make a plain webhook of any type, of now."""
        client_id = account.client_id or self.world.client.client_id
        made = webhooks.of_type(type, account, device or account.devices[0], self.now_ns(), client_id=client_id)
        return replace(made, key=self.world.key_of(account.client_id))

    def every(self, account: Account) -> list[webhooks.Webhook]:
        """Make one webhook of each documented type and each known oddity."""
        return list(webhooks.every(account, self.now_ns(), client_id=self.world.client.client_id))

    async def remove(self, account: Account, *, tell: bool = True) -> webhooks.Webhook:
        """Let the user remove the app: the tokens die at once, and the webhook that says so goes out (`tell`) or is kept back."""
        webhook = self.make("app_integration_removed", account)
        self.world.remove(account)
        if tell:
            self.sender.send(webhook)
        return webhook

    def freeze(self) -> None:
        """Stand still: requests are taken, and neither handled nor answered."""
        self.books.awake.clear()

    def thaw(self) -> None:
        """Go on where all stood still."""
        self.books.awake.set()

    async def kill(self) -> None:
        """Be gone: nothing is heard, what is under way is cut. What Ring knew it knows still."""
        await self.door.shut()

    async def start(self) -> None:
        """Be there again, at the same address."""
        await self.door.open()

    def now_ns(self) -> int:
        """Return the time with digits that look like nanoseconds."""
        return int(self.books.now() * 1_000_000) * 1_000 + uuid.uuid4().int % 1_000

    def _partner(self, client_id: str) -> Partner:
        return self.apps.get(client_id, self.partner)


@asynccontextmanager
async def running(
    partner: Partner, client: Client, *, port: int = 0, lapse: float = 1, clock: Callable[[], float] = time.time
) -> AsyncIterator[Ring]:
    """Run Ring on 127.0.0.1 (`port` 0: a free one) for the length of a block; `lapse` divides the waits of its retries."""
    books = Books(World(client), clock=clock)

    def made() -> web.Application:
        app = application(books)
        page.add(app, ring)
        return app

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)) as session:
        sender = Sender(partner.webhook_url, client.hmac_key, session, books.ledger, books.now, lapse)
        door = Door(made, port)
        ring = Ring(door.url, books, partner, sender, session, door)
        books.completed = lambda account: sender.send(ring.make("app_integration_added", account))
        try:
            await door.open()
            yield ring
        finally:
            await sender.stop()
            await door.shut()
