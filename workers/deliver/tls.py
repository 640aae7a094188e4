"""TLS to a destination: whose certificates are believed there, and by which one we are known. Files are read at the start."""

import re
import ssl
from functools import cache
from pathlib import Path
from typing import Final

from workers.deliver.watch import Context

KEYS: Final = ("ca_file", "cert_file", "key_file")  # of a destination
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")
_KEY: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+ )?PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_NO_CERTIFICATE: Final = (
    "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); of a DER file `openssl x509 -inform der -in FILE` makes one"
)


def trusting() -> ssl.SSLContext:
    """Return what believes the authorities that the system believes."""
    context = _fresh()
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


@cache
def shared() -> ssl.SSLContext:
    """Return the same, one for all destinations that say nothing of TLS: it holds a megabyte of certificates."""
    return trusting()


def believing(authorities: str) -> ssl.SSLContext:
    """Return what believes the authorities of a PEM text and no others. ValueError: what is wrong with it, in words."""
    context = _fresh()
    try:
        context.load_verify_locations(cadata="\n".join(_certificates(authorities)))
    except ssl.SSLError as error:
        raise ValueError(f"holds a certificate that cannot be read ({_why(error)}): it is cut, or was altered") from error
    return context


def certificate(text: str) -> str:
    """Return the first certificate of a PEM text. ValueError, in words, where there is none that can be read."""
    first = _certificates(text)[0]
    believing(first)
    return first


def private_key(text: str) -> str:
    """Return how the private key of a PEM text begins. ValueError, in words, where there is none, or one with a password."""
    if _ENCRYPTED.search(text):
        raise ValueError("holds an encrypted key, and nobody is there to type its password: `openssl pkey` writes it without")
    if not (found := _KEY.search(text)):
        raise ValueError("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    return found[0]


def identify(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let us be known by this certificate; both files were checked. ValueError: the key is no good for it, in words."""
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # without one OpenSSL would ask on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError("holds a key that does not belong to the certificate") from error
        raise ValueError(f"holds a key that cannot be used with the certificate ({_why(error)})") from error


def _fresh() -> ssl.SSLContext:
    context = Context(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate, and that it is the host's
    context.set_alpn_protocols(["http/1.1"])
    return context


def _certificates(text: str) -> list[str]:
    """Return the certificates of a text, without what stands around them."""
    if not (found := _CERTIFICATE.findall(text)):
        raise ValueError(_NO_CERTIFICATE)
    return found


def _why(error: ssl.SSLError) -> str:
    return (error.reason or "no reason given").lower().replace("_", " ")
