"""What a look at the four public URLs says: the right service, another one, or why none. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from schemas.findings import pages
from schemas.findings.finding import Finding, found

OK: Final = 200


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """One of the URLs, as it was seen from this machine."""

    name: str  # as the portal calls it
    url: str
    status: int | None = None
    ours: bool = False  # what answered is ringhook
    location: str | None = None  # where it sends who comes
    obstacle: str | None = None  # why nothing answered
    took: float | None = None  # seconds


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a signed webhook through the public URL; `held`: it was read back from the bus (None: nobody could say)."""

    id: str
    status: int | None = None
    obstacle: str | None = None
    took: float | None = None  # seconds
    held: bool | None = None


def of_probe(probed: Probed) -> Iterator[Finding]:
    """Yield what is wrong on the way from the public URL onto the bus."""
    if probed.status != OK:
        fate = f"answered {probed.status}" if probed.status else f"not answered: {probed.obstacle}"
        yield found(pages.PROBE_REFUSED, f"A webhook that this machine signed with its own key was {fate}.")
    elif probed.held is False:
        yield found(pages.PROBE_ELSEWHERE, f"It was answered 200 and is not on this installation's bus ({probed.id}).", "likely")


def of_urls(looks: Sequence[Looked]) -> Iterator[Finding]:
    """Yield what is wrong with them; what is wrong with all is said once."""
    if silent := [look for look in looks if look.obstacle]:
        which = "No URL" if len(silent) == len(looks) else _named(silent)
        verb = "was reached" if len(silent) == len(looks) else "not reached"
        yield found(pages.NOT_REACHED, f"{which} {verb} from this machine: {silent[0].obstacle}.", "likely")
    if moved := [look for look in looks if look.location]:
        yield found(pages.REDIRECTED, f"{_named(moved)}: who comes is sent to {moved[0].location}.")
    if strange := [look for look in looks if look.status and not look.ours and not look.location]:
        yield found(pages.ANOTHER, f"{_named(strange)}: what answers ({strange[0].status}) is not ringhook.")


def _named(looks: Sequence[Looked]) -> str:
    return ", ".join(look.name for look in looks)
