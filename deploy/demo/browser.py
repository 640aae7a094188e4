"""A user's browser: follows redirects with its cookies, fills in forms, and presses their buttons."""

from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin

import aiohttp


class Page:
    """What the browser shows: address, status, text, and the first form on it."""

    def __init__(self, url: str, status: int, text: str) -> None:
        self.url, self.status, self.text = url, status, text
        self.form = _Form(text)


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what is filled in already."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms and their inputs."""
        given = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = given.get("action") or ""
        if tag == "input" and (name := given.get("name")):
            self.fields[name] = given.get("value") or ""


class Browser:
    """One person's browser; its cookies are its own."""

    def __init__(self) -> None:
        self._client = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # the demo's hosts are addresses
            timeout=aiohttp.ClientTimeout(total=10),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.close()

    async def open(self, url: str) -> Page:
        """Go to an address and wherever it leads."""
        async with self._client.get(url) as answer:
            return Page(str(answer.url), answer.status, await answer.text())

    async def submit(self, page: Page, **filled: str) -> Page:
        """Press the button of the page's form."""
        if page.form.action is None:
            raise RuntimeError(f"there is no form on {page.url.partition('?')[0]} (status {page.status}):\n{page.text}")
        async with self._client.post(urljoin(page.url, page.form.action), data={**page.form.fields, **filled}) as answer:
            return Page(str(answer.url), answer.status, await answer.text())

    async def ask(self, url: str) -> dict[str, object]:
        """Return what an address says to programs (JSON)."""
        async with self._client.get(url, headers={"Accept": "application/json"}) as answer:
            found: dict[str, object] = await answer.json()
            return found
