"""Codes, nonces, tokens and client secrets stand in no log line, no metric, no repr and not in plain in the store's file."""

import logging
from pathlib import Path
from typing import NoReturn

import prometheus_client
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from deploy.demo.ring.state import Refusal
from linker.broker import Broker
from schemas.errors import Rejected
from tests.linker.rig import Rig
from tests.linker.ring import nonce


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


async def test_no_secret_is_written_down_whatever_fails(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # at DEBUG it prints every statement
    shown: list[str] = []
    with capture_logs() as lines:
        for call in ("", "exchange", "identify", "post", "patch"):
            for fault in (500, 401, 400, "cut"):
                account = f"acct-{call}-{fault}"
                code = await rig.code(account, f"canary-code-{call}-{fault}")
                await rig.sign_in(f"t-{account}", nonce(rig.time(), account), rig.time())
                if call:
                    rig.ring.spoil(call, fault)
                linker = rig.linker()
                async with linker:
                    for _ in range(12):
                        await rig.turn_once(linker)
                shown += [repr(await rig.explain.progress(f"t-{account}")), repr(await rig.explain.describe(account))]
                shown += [found.reason or "" for found in await rig.grants(code)]
                rig.ring.calm()
                rig.now += 700
    shown += [str(lines), caplog.text, prometheus_client.generate_latest().decode(), "".join(capsys.readouterr())]
    shown += [repr(rig.vault), repr(rig.api), repr(rig.opener)]
    assert _found_nowhere(rig, tmp_path, shown) > 60


async def test_no_token_is_written_down_when_it_is_renewed_or_lent(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # as above
    shown: list[str] = []
    with capture_logs() as lines:
        for fault in (200, 503, 500, 401, 400, "cut"):
            account = f"acct-{fault}"
            code = await rig.code(account, f"canary-code-{fault}")
            await rig.sign_in(f"t-{account}", nonce(rig.time(), account), rig.time())
            await rig.state(rig.linker(), code, "completed")
            linker = rig.linker()
            lender = Broker(rig.store, rig.vault, linker.wake, rig.clock, patience=0.5)
            shown += [repr(await lender.lend(account, None))]
            rig.now += 86_400
            if fault != 200:
                rig.ring.spoil("refresh", fault)
            async with linker:
                for _ in range(4):
                    await rig.turn_once(linker)
                    shown += [repr(await lender.lend(account, "0" * 64)), repr(await rig.explain.describe(account))]
            shown += [repr(await rig.explain.accounts(after="", limit=9, at_risk=False))]
            rig.ring.calm()
    shown += [str(lines), caplog.text, prometheus_client.generate_latest().decode(), "".join(capsys.readouterr())]
    assert rig.ring.count("refresh") >= 6
    assert _found_nowhere(rig, tmp_path, shown) > 20


async def test_a_ring_that_repeats_what_it_was_asked_with_is_quoted_without_it(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # as above

    def echo(*given: object, refused: int = 400) -> NoReturn:
        carried = [*map(str, given), *rig.ring.made, *(["canary-client-secret"] if call in {"exchange", "refresh"} else [])]
        raise Refusal(refused, "invalid_grant", f"no good: {' '.join(reversed(carried))}")

    shown: list[str] = []
    with capture_logs() as lines:
        for call in ("exchange", "holder", "claim", "complete", "refresh"):
            account = f"acct-{call}"
            code = await rig.code(account, f"canary-code-{call}")
            await rig.sign_in(f"t-{account}", nonce(rig.time(), account), rig.time())
            if call == "refresh":
                await rig.state(rig.linker(), code, "completed")
                rig.now += 86_400
            monkeypatch.setattr(rig.ring.world, call, echo)
            linker = rig.linker()
            lender = Broker(rig.store, rig.vault, linker.wake, rig.clock, patience=0.2)
            async with linker:
                for _ in range(12):
                    await rig.turn_once(linker)
            monkeypatch.undo()
            shown += [repr(await rig.explain.progress(f"t-{account}")), repr(await rig.explain.describe(account))]
            shown += [found.reason or "" for found in await rig.grants(code)]
            shown += [repr(await lender.lend(account, "0" * 64))]
            rig.now += 700
    shown += [str(lines), caplog.text]
    assert "\n".join(shown).count("no good") >= 5
    assert _found_nowhere(rig, tmp_path, shown) > 15


def _found_nowhere(rig: Rig, folder: Path, shown: list[str]) -> int:
    """Return how many secrets there were, each of which stands neither in what was shown nor in the store's file."""
    written = _written(folder)
    secrets = {*rig.secrets, *rig.ring.made, "canary-client-secret", "test-hmac-key"}
    for secret in secrets:
        assert secret not in "\n".join(shown)
        assert secret.encode() not in written
    assert b"acct-" in written
    return len(secrets)


def _written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_last_weeks_ciphertext_does_not_open_in_its_row(rig: Rig) -> None:
    code = await rig.code("acct-1")
    old = await rig.state(rig.linker(), code, "unclaimed")
    assert rig.vault.open(old, "access") in rig.ring.made
    rig.now += 86_400
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    new = await rig.state(rig.linker(), code, "completed")
    assert new.writes == old.writes + 1
    for wrong in (
        replace(new, access=old.access),
        replace(new, access=new.refresh),
        replace(new, code_hash="0" * 64),
        replace(new, generation=1),
    ):
        with pytest.raises(Rejected, match="belong elsewhere"):
            rig.vault.open(wrong, "access")
