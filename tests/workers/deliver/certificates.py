"""Certificates made for a test by openssl: an authority, and what it vouches for."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)


@dataclass
class Authority:
    """Signs certificates into a folder; each has its key beside it."""

    folder: Path
    name: str = "authority"

    def __post_init__(self) -> None:
        self._request(self.name, "-x509", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE")

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def vouch(self, name: str, *, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Return the files of a new certificate and of its key."""
        signed = ("-CA", str(self.certificate), "-CAkey", str(self.folder / f"{self.name}.key"))
        self._request(name, "-x509", "-days", "2", *signed, "-addext", f"subjectAltName=IP:{host}")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _request(self, name: str, *more: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(self.folder / f"{name}.key"))
        openssl("req", "-new", *key, "-subj", f"/CN={name}", "-out", str(self.folder / f"{name}.pem"), *more)


def demanding(authority: Authority, files: tuple[Path, Path]) -> ssl.SSLContext:
    """Return what a server uses that wants to see a certificate of the authority's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(*files)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def explaining(context: ssl.SSLContext, *, says: bool = True) -> AsyncIterator[str]:
    """Serve TLS that says, as it refuses one, why, and waits until that is heard; else it only hangs up, as asyncio's own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(into, out, server_side=True)
        while not _over(tls):
            writer.write(out.read())
            into.write(await reader.read(65_536))
        writer.write(out.read() if says else b"")
        writer.write_eof()
        while await reader.read(65_536):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _over(handshake: ssl.SSLObject) -> bool:
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True
