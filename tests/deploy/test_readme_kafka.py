"""What the README tells partner services on Kafka to copy must read events as it stands there."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local import packages
from schemas.topics import EVENT_RECORDED, declared
from tests.workers.deliver.support import event
from workers.bus import kafka

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
pytestmark = pytest.mark.kafka


@pytest.fixture
async def there(kafka_url: str, namespace: str) -> dict[str, str]:
    """Publish two events; return what stands in the README for what stands in its place here."""
    await kafka.apply(kafka_url, namespace=namespace, topics=[EVENT_RECORDED], single_broker=True)
    async with kafka.connect(kafka_url, namespace=namespace, topics=declared(())) as bus:
        await bus.publish([event("first", account="a1")])
        await bus.publish([event("second", account="a1")])
    return {"127.0.0.1:9092": kafka_url.removeprefix("kafka://"), "ringhook.event": f"{namespace}.event"}


def shown(language: str, holds: str, there: dict[str, str]) -> str:
    text = next(text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holds in text)
    for ours, theirs in there.items():
        assert ours in text
        text = text.replace(ours, theirs)
    return text.replace("ringhook-partner", f"{language}.of-this-test")  # one that was killed is a member for a while


async def lines_of(words: Sequence[str], cwd: Path, *, count: int) -> list[str]:
    """Return the first lines that a program prints, which is ended then."""
    process = await create_subprocess_exec(*words, cwd=cwd, stdout=PIPE, limit=2**20)
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            return [(await process.stdout.readline()).decode().strip() for _ in range(count)]
    finally:
        process.kill()
        await process.wait()


def judged(lines: list[str]) -> None:
    assert [line.split(" ")[:2] for line in lines] == [["com.ring.motion_detected", name] for name in ("first", "second")]
    assert all("received_at" in line for line in lines)


async def test_in_python(there: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "alerts.py").write_text(shown("python", "AIOKafkaConsumer", there))
    judged(await lines_of([sys.executable, "-u", "alerts.py"], tmp_path, count=2))


async def test_in_java(there: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "Alerts.java").write_text(shown("java", "KafkaConsumer", there))
    java = packages.java()
    judged(await lines_of([str(java), "-cp", f"{ROOT}/build/kafka/*", "Alerts.java"], tmp_path, count=2))


async def test_with_kcat(there: dict[str, str], tmp_path: Path) -> None:
    command = shown("console", "kcat", there).removeprefix("$ ").partition("   #")[0]
    program = command.strip().replace("kcat", str(packages.kcat()), 1) + " -e"  # what it prints comes at the end, to a pipe
    lines = await lines_of(["sh", "-c", program], tmp_path, count=4)
    for name, head, value in (("first", *lines[:2]), ("second", *lines[2:])):
        assert f"ce_id={name}" in head
        assert "ce_type=com.ring.motion_detected" in head
        assert "received_at" in value
