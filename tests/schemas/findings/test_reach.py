"""What the system says of a connection that did not come about, in words that an operator can use."""

import errno
import socket
import ssl

import pytest

from schemas.findings.reach import obstacle, unbound

MANY = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 9)"
MIXED = "Multiple exceptions: [Errno 101] Connect call failed ('::1', 9), [Errno 111] Connect call failed ('192.0.2.1', 9)"


def certificate(words: str, code: int = 10) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message, error.verify_code = words, code
    return error


def alert(reason: str) -> ssl.SSLError:
    """As the `ssl` module raises it: its number is that of a class of errors, and none of the system's."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:2580)")
    error.reason = reason
    return error


def wrapped(error: OSError, words: str = "it failed") -> OSError:
    """As an HTTP client tells it that takes the number for the system's."""
    told = OSError(error.errno, words)
    told.__cause__ = error
    return told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "refused (nothing listens there)"),
        (OSError(MANY), "refused (nothing listens there)"),
        (OSError(MIXED), "no way leads there from this machine, the connection was refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "there is no such name"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "could not be looked up just now"),
        (TimeoutError(), "no answer came in time"),
        (OSError(errno.ETIMEDOUT, "Connect call failed"), "no answer came in time"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "the connection was cut"),
        (ConnectionResetError(), "the connection was cut"),
        (EOFError(), "the connection was cut"),
        (certificate("self-signed certificate", 18), "its certificate is not accepted (self-signed certificate; no authority"),
        (certificate("unable to get local issuer", 20), "or the certificates between are not sent along)"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "does not speak TLS as asked"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), 'TLS failed, the other side said "certificate required"'),
        (wrapped(alert("TLSV13_ALERT_CERTIFICATE_REQUIRED")), 'TLS failed, the other side said "certificate required"'),
        (wrapped(alert("SSLV3_ALERT_BAD_CERTIFICATE")), 'TLS failed, the other side said "bad certificate"'),
        (wrapped(alert("TLSV1_ALERT_UNKNOWN_CA")), 'TLS failed, the other side said "unknown ca"'),
        (wrapped(ssl.SSLError(1, "[SSL] record layer failure")), "does not speak TLS as asked"),
        (wrapped(ConnectionResetError("Cannot write to closing transport"), "Can not write the body"), "the connection was cut"),
        (wrapped(certificate("certificate has expired")), "its certificate is not accepted (certificate has expired)"),
        (PermissionError(errno.EACCES, "Connect call failed"), "permission denied"),
        (ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'), "rejected SSL upgrade"),
        (ConnectionError(), "ConnectionError"),
    ],
)
def test_the_systems_verdict_in_words(error: Exception, words: str) -> None:
    assert words in obstacle(error)
    assert "Errno" not in obstacle(error)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "it is in use, perhaps by another ringhook"),
        (errno.EADDRNOTAVAIL, "this machine has no such address"),
        (errno.EACCES, "this user may not (ports under 1024 are the system's)"),
        (errno.EMFILE, "too many open files"),
    ],
)
def test_why_an_address_cannot_be_listened_on(number: int, words: str) -> None:
    assert unbound(OSError(number, "error while attempting to bind on address ('127.0.0.1', 80)")) == words
