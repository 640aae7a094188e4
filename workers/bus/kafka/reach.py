"""Why Kafka does not answer, in words; aiokafka tells its log alone why it got no connection, so the address is asked again."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    BrokerResponseError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import RinghookError
from schemas.findings.reach import obstacle

ODD: Final = ": is it Kafka, and security_protocol right?"
KNOCK: Final = 1.0  # seconds for an address to answer
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # ten lines a second while a broker is away; we say it once

_WORDS: Final[Mapping[type[KafkaError], str]] = {
    AuthenticationFailedError: "it refuses the user or password",
    SaslAuthenticationFailed: "it refuses the user or password",
    UnsupportedSaslMechanismError: "it does not offer this sasl_mechanism",
    IllegalSaslStateError: "it takes no user there: is security_protocol right?",
    KafkaConnectionError: "it closed the connection",
}


def told(error: BaseException) -> str:
    """Return in words what went wrong with a request or a connection."""
    if isinstance(error, RinghookError):
        return str(error)
    if isinstance(error, RequestTimedOutError):
        return obstacle(TimeoutError())
    if words := _WORDS.get(type(error)):
        return words
    if isinstance(error, BrokerResponseError):
        return f"Kafka says {error.message}"
    return (str(error) or type(error).__name__) if isinstance(error, KafkaError) else obstacle(error)


async def knock(options: Mapping[str, Any], host: str, port: int) -> str:
    """Ask an address a first question within a second, and return in words what came of it."""
    how = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    try:
        async with asyncio.timeout(KNOCK):
            await _ask(host, port, how)
    except ssl.SSLCertVerificationError as error:
        return told(error)
    except (KafkaConnectionError, ConnectionResetError, ssl.SSLError) as error:
        return told(error) + ODD
    except (KafkaError, OSError, TimeoutError, EOFError) as error:
        return told(error)
    return "it answers again"


async def _ask(host: str, port: int, how: Mapping[str, Any]) -> None:
    conn = await create_conn(host, port, client_id="ringhook", request_timeout_ms=int(KNOCK * 1000), **how)
    try:
        await conn.send(MetadataRequest([]))
    finally:
        conn.close()
