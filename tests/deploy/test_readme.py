"""What the README tells partners to copy must work as it stands there."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from deploy.local import packages
from workers.deliver.sign import Signer
from workers.runtime.signing import SigningKey, generate

README = Path(__file__).parents[2].joinpath("README.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"a":1}'
JAVA = "public class V {{ {snippet} public static void main(String[] a) throws Exception {{ {main} }} }}"
ASKED = "System.out.println(verify(a[0], a[1], a[2], a[3], a[4].getBytes()));"


def snippet(language: str) -> str:
    """Return the README's snippet in that language that verifies a delivery."""
    return next(text for text in snippets(language) if "verify(" in text)


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def signed(at: datetime | None = None) -> dict[str, str]:
    now = at or datetime.now(UTC)
    given = "v1,b3RoZXI= " + Webhook(SECRET).sign("m1", now, BODY)
    return {"webhook-id": "m1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": given}


CASES = [(BODY, None, True), ('{"a":2}', None, False), (BODY, datetime(2026, 1, 1, tzinfo=UTC), False)]


@pytest.mark.parametrize(("body", "at", "expected"), CASES)
def test_the_python_snippet_accepts_what_is_genuine_and_nothing_else(body: str, at: datetime | None, expected: bool) -> None:  # noqa: FBT001
    space: dict[str, object] = {}
    exec(snippet("python"), space)  # noqa: S102 - our own README
    verify = space["verify"]
    assert callable(verify)
    assert verify(SECRET, signed(at), body.encode()) is expected


@pytest.mark.parametrize(("body", "at", "expected"), CASES)
def test_the_snippet_for_pairs_of_keys_does_the_same(body: str, at: datetime | None, expected: bool) -> None:  # noqa: FBT001
    space: dict[str, object] = {}
    exec(next(text for text in snippets("python") if "verify_v1a(" in text), space)  # noqa: S102 - our own README
    verify, old, new = space["verify_v1a"], generate(), generate()
    assert callable(verify)
    sent = int((at or datetime.now(UTC)).timestamp())
    for key in (old, new):
        assert (
            verify(SigningKey(key).public, Signer([old, new], "v1a").headers("m1", sent, BODY.encode()), body.encode())
            is expected
        )
    assert not verify(SigningKey(generate()).public, Signer([old], "v1a").headers("m1", sent, BODY.encode()), body.encode())


@pytest.mark.parametrize(("body", "at", "expected"), CASES)
def test_the_java_snippet_does_the_same(body: str, at: datetime | None, expected: bool, tmp_path: Path) -> None:  # noqa: FBT001
    (tmp_path / "V.java").write_text(JAVA.format(snippet=snippet("java"), main=ASKED))
    java = packages.java()
    assert java is not None
    done = subprocess.run(
        [java, "V.java", SECRET, *signed(at).values(), body], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(expected).lower()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not on this machine; nothing else of ringhook needs it")
@pytest.mark.parametrize(("body", "at", "expected"), CASES)
def test_the_node_snippet_does_the_same(body: str, at: datetime | None, expected: bool, tmp_path: Path) -> None:  # noqa: FBT001
    (tmp_path / "verify.mjs").write_text(snippet("js"))
    given = ", ".join(json.dumps(value) for value in (SECRET, signed(at)))
    asked = f'import {{ verify }} from "./verify.mjs"; console.log(verify({given}, Buffer.from({json.dumps(body)})));'
    (tmp_path / "ask.mjs").write_text(asked)
    done = subprocess.run(["node", "ask.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str(expected).lower()


def test_the_json_example_has_the_fields_of_a_real_event() -> None:
    example = next(text for text in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if "specversion" in text)
    sample = Path(__file__).parents[1] / "samples" / "events" / "motion_detected.json"
    real, shown = json.loads(sample.read_text()), json.loads(example)
    assert shown.keys() == real.keys()
    assert shown["data"].keys() == real["data"].keys()
