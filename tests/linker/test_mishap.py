"""A sign-in whose code came to nothing: who waits is told of it while they wait, with an if, and of nobody else's."""

from collections.abc import Awaitable, Callable

import pytest

from ingress.link.words import spoken
from linker.forgetting import Forgetting
from linker.mishap import BEFORE, Mishap, guess
from linker.moves import MENDS, TAP
from linker.progress import Progress
from linker.rows import Attempt
from schemas.records import LinkState
from tests.linker.rig import AT, Rig
from tests.linker.ring import nonce

BROKE = "a connection begun at 04:48 UTC could not be used"
LOST = f"{BROKE} (Ring's answer to it never came, or was not clear); if it was yours, {MENDS}"
REFUSED = f"{BROKE} (Ring did not accept it); if it was yours, {MENDS}"
GONE = (
    "a connection begun at 04:48 UTC was of a Ring account that was deleted here at its owner's or the operator's wish; "
    "if it was yours, this account cannot be linked again"
)
UNKNOWN = "Ring did not let us know this account within the sign-in's 10 minutes"


async def broken(rig: Rig, account: str, fault: int | str, state: str = "", *, stranger: bool = False) -> str:
    """Let a code come to nothing."""
    rig.ring.spoil("exchange", fault)
    code = await rig.code(account, stranger=stranger)
    await rig.state(rig.linker(), code, state or ("lost" if fault in {"cut", 500} else "rejected"))
    return code


async def waited(rig: Rig, until: Callable[[Attempt], bool]) -> Progress:
    """Let linkers look until it is so of t1, and return what is told of it."""

    async def so() -> bool:
        found = await rig.store.attempt("t1")
        return found is not None and until(found)

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, so, 4_000)
    shown = await rig.explain.progress("t1", "u1")
    assert shown
    return shown


def looked(attempt: Attempt) -> bool:
    return attempt.horizon is not None


def over(attempt: Attempt) -> bool:
    return attempt.state != "received"


@pytest.mark.parametrize(("fault", "told"), [("cut", LOST), (500, LOST), (400, REFUSED), (401, REFUSED), (403, REFUSED)])
async def test_who_waits_is_told_at_once_of_a_code_that_broke_and_in_the_end_of_both_remedies(
    rig: Rig, fault: int, told: str
) -> None:
    await broken(rig, "acct-1", fault)
    rig.now += 20
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    waits = await waited(rig, looked)
    assert (waits.state, waits.finding) == ("received", told)
    ended = await waited(rig, over)
    assert (ended.state, ended.finding) == ("expired", f"{UNKNOWN}: {told}; if it was not, {TAP}")


async def test_a_forgotten_accounts_user_is_told_that_it_cannot_be_linked_again(rig: Rig) -> None:
    await Forgetting(rig.database, rig.store.namespace).ask("acct-1", rig.now)
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "rejected")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    assert (await waited(rig, looked)).finding == GONE
    assert (await waited(rig, over)).finding == f"{UNKNOWN}: {GONE}; if it was not, {TAP}"


async def test_a_good_code_that_comes_later_links_and_nothing_is_said_of_the_broken_one_any_more(rig: Rig) -> None:
    await broken(rig, "acct-2", "cut")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    assert (await waited(rig, looked)).finding == LOST
    await rig.code("acct-1")
    linked = await waited(rig, over)
    done = await waited(rig, lambda attempt: attempt.state == "completed")
    assert (linked.finding, done.finding) == (None, None)


async def no_code(rig: Rig) -> None:
    del rig


async def a_strangers(rig: Rig) -> None:
    await broken(rig, "acct-1", 400, stranger=True)


async def one_long_before(rig: Rig) -> None:
    await broken(rig, "acct-1", 400)
    rig.now += BEFORE + 1


async def one_that_was_good(rig: Rig) -> None:
    await rig.state(rig.linker(), await rig.code("acct-2"), "unclaimed")


@pytest.mark.parametrize("before", [no_code, a_strangers, one_long_before, one_that_was_good])
async def test_nothing_is_guessed_from_other_codes(rig: Rig, before: Callable[[Rig], Awaitable[None]]) -> None:
    await before(rig)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    assert (await waited(rig, looked)).finding is None
    rig.now += 1
    await broken(rig, "acct-3", 400)  # after the sign-in: whoever signs in has connected before
    assert (await waited(rig, over)).finding == f"{UNKNOWN}: {TAP}; if that does not help, {MENDS}"


@pytest.mark.parametrize("state", ["lost", "rejected", "expired"])
def test_what_is_guessed_is_no_answer_of_rings_and_no_id(state: LinkState) -> None:
    words = guess(Mishap(received_at=AT, state=state, reason="Ring refused the code (400 of acct-1): mend it"))
    assert "acct-1" not in words
    assert words.startswith(f"{BROKE} (")
    title, said, warning, live = spoken("received", words)
    assert (title, live, warning) == ("Connecting", True, words[0].upper() + words[1:] + ".")
    assert not {"code", "nonce", "linker", "grant"} & set(f"{said} {warning}".lower().split())
