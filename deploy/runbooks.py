"""A page for each finding, made of its words: `python -m deploy.runbooks` writes them, and a test compares."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy.generated import write
from schemas.findings.finding import Page
from schemas.findings.pages import PAGES

FOLDER: Final = Path(__file__).with_name("runbooks")
HEAD: Final = """# Runbooks

What `ringhook doctor` and `GET /v1/findings` tell has a code, which stays the same. The first digit says how far the connection
has come: 1 the public URLs, 2 the code, 3 the sign-in, 4 the link, 5 webhooks, 6 tokens, 7 your services. What stands first in
the doctor's list is to be done first.

| code | cause | remedy |
|---|---|---|
"""


def files() -> Mapping[str, str]:
    """Return every page by its file's name."""
    pages = {f"{page.code}.md": "\n".join(_page(page)) for page in PAGES}
    return {"README.md": HEAD + "".join(map(_row, PAGES))} | pages


def _row(page: Page) -> str:
    return f"| [{page.code}]({page.code}.md) | {page.title} | {page.do[0]} |\n"


def _page(page: Page) -> Iterator[str]:
    yield f"# {page.code}: {page.title}\n\n{page.means}\n\n## What to do\n"
    yield from (f"{number}. {act}" for number, act in enumerate(page.do, start=1))
    if page.hinders:
        yield "\n## What is usually in the way\n"
        yield from (f"- {one}" for one in page.hinders)
    yield ""


if __name__ == "__main__":
    write(FOLDER, files())
