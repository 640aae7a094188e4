"""An internal port that answers what a test has written down, for the commands that ask it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest


class Answering(BaseHTTPRequestHandler):
    """An internal port that has its answers by heart."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, body = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Answering]]:
    Answering.answers, Answering.asked = [], []
    server = HTTPServer(("127.0.0.1", 0), Answering)
    Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"RINGHOOK_TOKEN=t0ken\nRINGHOOK_INTERNAL_URL=http://127.0.0.1:{server.server_port}\n")
    yield Answering
    server.shutdown()
    server.server_close()
