"""What is sealed opens only where it belongs, with a key that is there; and no key is ever shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Misconfigured, Rejected
from workers.runtime.sealing import CodeOpener, CodeSealer, KeyMissing, Keyring, generate_code_keys, generate_key, key_of

OLD, NEW = generate_key("2026-01"), generate_key("2026-02")
RING = Keyring.parse(f"{NEW},{OLD}")
CONTEXT = ("vault", "ringhook", "grants", "row", "access", "1", "7")


def test_every_key_of_the_ring_opens_and_the_first_seals() -> None:
    old = Keyring.parse(OLD).seal(b"token", CONTEXT)
    assert RING.open(old, CONTEXT) == b"token"
    assert Keyring.parse(NEW).open(RING.seal(b"token", CONTEXT), CONTEXT) == b"token"


def test_a_key_that_is_gone_is_named() -> None:
    with pytest.raises(KeyMissing, match="2026-02"):
        Keyring.parse(OLD).open(RING.seal(b"token", CONTEXT), CONTEXT)


@pytest.mark.parametrize(
    "other", [CONTEXT[:-1], (*CONTEXT[:-1], "8"), (*CONTEXT[:-2], "17"), ("vaultr", "inghook", *CONTEXT[2:]), ()]
)
def test_bytes_pasted_into_another_place_do_not_open(other: tuple[str, ...]) -> None:
    with pytest.raises(Rejected) as rejected:
        RING.open(RING.seal(b"token", CONTEXT), other)
    assert rejected.value.reason == "tampered"


def test_one_altered_byte_anywhere_does_not_open() -> None:
    sealed = RING.seal(b"token", CONTEXT)
    for at in range(len(sealed)):
        altered = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        with pytest.raises((Rejected, KeyMissing)):
            RING.open(altered, CONTEXT)


def test_what_was_cut_does_not_open() -> None:
    sealed = RING.seal(b"token", CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(Rejected) as rejected:
            RING.open(sealed[:length], CONTEXT)
        assert rejected.value.reason == "tampered"


def test_the_same_plaintext_is_sealed_differently_each_time() -> None:
    assert RING.seal(b"token", CONTEXT) != RING.seal(b"token", CONTEXT)


def test_a_sealed_code_opens_only_with_the_private_key() -> None:
    public, private = generate_code_keys("edge1")
    _, older = generate_code_keys("edge0")
    sealed = CodeSealer(public).seal(b"the code")
    assert CodeOpener(f"{older},{private}").open(sealed) == b"the code"
    with pytest.raises(Rejected, match="edge1") as rejected:
        CodeOpener(older).open(sealed)
    assert rejected.value.reason == "unknown_key"
    with pytest.raises(Rejected) as rejected:
        CodeOpener(public).open(sealed)
    assert rejected.value.reason == "tampered"


@pytest.mark.parametrize(
    "text",
    ["", "k1", "k1:", "k1:short", NEW + ",", f"{NEW},{NEW}", NEW.replace(":", ":!"), NEW[:-1] + "A", "a b" + NEW[7:], "é" + NEW],
    ids=range(10),  # the keys are other ones in each run
)
def test_keys_that_are_not_keys_are_refused_without_being_shown(text: str) -> None:
    for read in (Keyring.parse, CodeOpener, CodeSealer):
        with pytest.raises(Misconfigured) as refused:
            read(text)
        assert NEW[8:20] not in str(refused.value)


def test_more_than_one_public_key_is_refused() -> None:
    with pytest.raises(Misconfigured):
        CodeSealer(",".join(generate_code_keys(name)[0] for name in ("a", "b")))


def test_no_repr_shows_a_key() -> None:
    public, private = generate_code_keys()
    shown = repr(RING) + repr(CodeOpener(private)) + repr(CodeSealer(public))
    assert shown == "Keyring(2026-02, 2026-01)CodeOpener(k1)CodeSealer(k1)"


OPENER = CodeOpener(generate_code_keys()[1])


@given(st.binary() | st.binary().map(lambda rest: b"\x01\x02k1" + rest))
def test_arbitrary_bytes_are_rejected(sealed: bytes) -> None:
    with pytest.raises((Rejected, KeyMissing)):
        RING.open(sealed, CONTEXT)
    with pytest.raises(Rejected):
        OPENER.open(sealed)


@given(st.binary(), st.lists(st.text(st.characters(exclude_categories=("Cs",)))))
def test_what_is_sealed_opens(plaintext: bytes, context: list[str]) -> None:
    assert RING.open(RING.seal(plaintext, context), context) == plaintext


@pytest.mark.parametrize("foreign", [b"", b"\x01", b"\x02\x02k1", b"\x01\x05k1", b"\x01\x02\x00\xff......", b"\x01\x00"])
def test_sealed_bytes_name_their_key_and_foreign_ones_nobody(foreign: bytes) -> None:
    assert key_of(RING.seal(b"token", CONTEXT)) == "2026-02"
    assert key_of(foreign) == "?"
