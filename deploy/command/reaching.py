"""What `ringhook destinations check` makes of a test event's fate: what is seen, what it means, what to do. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from schemas.findings.reach import UNTRUSTED
from workers.deliver.answer import Answer
from workers.deliver.ping import Pinged
from workers.runtime.logs import printable

SHOWN: Final = 200  # characters of an answer
FAILED: Final = {
    "dns": "its name could not be looked up",
    "timeout": "it did not answer within timeout_s: it is slow, or what stands before it drops the connection",
    "protocol": "what listens there does not speak HTTP as it should",
    "guard": "its address is closed: it leads into a network, or to this machine. If it is yours, name it in allow_networks",
}
SAYS: Final = {
    401: "it does not know our signature: is the secret the one that it checks with? Or it wants a header: see headers_env",
    403: "it does not let us in: is the secret the one that it checks with, and may this machine's address call it?",
    404: "nothing is at this path: is it the one that takes events?",
    405: "what is at this path takes no POST: is it the one that takes events?",
    410: "it says that it is gone for good: deliveries to it would stop until `ringhook destinations resume`",
    413: "it takes no body of this size, and events are larger",
    415: "it does not take this Content-Type: `body` and `shape` say what is sent",
    429: "it asks to slow down: `rate` says how many requests a second it gets",
}
KINDS: Final = {
    1: "that is no answer",
    2: "",
    3: "redirects are not followed: put the address where it leads into `url`",
    4: "it refuses the event: if it refuses every type that it does not know, what Ring adds one day becomes dead letters",
    5: "it has trouble of its own, or what stands before it does not reach it",
}
OWN_AUTHORITY: Final = ". If the authority is your own, name it in `ca_file`; else the service must send its whole chain"
UNSHAPED: Final = (
    "its shape makes nothing of the event: a HEAD request went in its place, which shows the way there, "
    "and not whether it takes events"
)


def well(pinged: Pinged) -> bool:
    """Say whether the destination takes events, as far as was asked."""
    status = pinged.answer.status if pinged.answer else None
    return status is not None and (pinged.unshaped or status // 100 == 2)  # noqa: PLR2004


def lines(pinged: Pinged) -> Iterator[str]:
    """Return what is told of a destination."""
    yield f"{pinged.name}  {pinged.url}"
    if pinged.unresolved:
        yield f"  not reached: {pinged.unresolved}"
        return
    closed = set(pinged.closed)
    yield "  addresses: " + ", ".join(f"{one} (closed)" if one in closed else one for one in pinged.addresses)
    if pinged.unshaped:
        yield f"  {UNSHAPED}"
    if pinged.answer is not None:
        yield _fate(pinged.answer)
        yield from () if pinged.unshaped else _meaning(pinged.answer)


def _fate(answer: Answer) -> str:
    if answer.status is None:
        words = answer.words or FAILED.get(str(answer.failure), str(answer.failure))
        return f"  not reached: {words}{OWN_AUTHORITY if UNTRUSTED in words else ''}"
    return f"  answered {answer.status} in {answer.took * 1000:.0f} ms{_where(answer)}"


def _meaning(answer: Answer) -> Iterator[str]:
    if answer.status is None:
        return
    if meaning := SAYS.get(answer.status, KINDS.get(answer.status // 100, KINDS[1])):
        yield f"  {meaning}"
    if answer.said:
        yield f"  it said: {printable(answer.said.decode(errors='replace')[:SHOWN])}"


def _where(answer: Answer) -> str:
    timing = answer.timing
    parts = {"dns": timing.dns, "tcp": timing.connect, "tls": timing.tls, "answer": timing.wait} if timing else {}
    said = [f"{name} {seconds * 1000:.0f}" for name, seconds in parts.items() if seconds is not None]
    return f" ({', '.join(said)})" if said else ""


def facts(pinged: Pinged) -> dict[str, Any]:
    """Return the same for programs."""
    answer = pinged.answer
    return {
        "name": pinged.name,
        "url": pinged.url,
        "well": well(pinged),
        "event": None if pinged.unshaped else pinged.id,
        "addresses": pinged.addresses,
        "closed": pinged.closed,
        "status": answer.status if answer else None,
        "failure": answer.failure if answer else "dns",
        "why": " ".join(line.strip() for line in list(lines(pinged))[1:]),
        "took_ms": round(answer.took * 1000, 1) if answer else None,
    }
