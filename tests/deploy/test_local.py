"""The ground everything else is tested on: a real broker and a real server, and jars that are believed only by hash."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import jars, packages, ports
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres


@pytest.mark.kafka
async def test_a_record_goes_through_kafka_and_comes_back(kafka_url: str, namespace: str) -> None:
    bootstrap = kafka_url.removeprefix("kafka://")
    await make_topic(bootstrap, namespace)
    await produce(bootstrap, namespace, b"there")
    assert await first(bootstrap, namespace) == b"there"


def threads(pid: int | None) -> list[str]:
    """Return what each thread of a process does just now."""
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]


@pytest.mark.kafka
async def test_kafka_keeps_what_it_acknowledged_over_kill_9_freeze_and_restart(kafka_server: Kafka, namespace: str) -> None:
    await make_topic(kafka_server.bootstrap, namespace)
    await produce(kafka_server.bootstrap, namespace, b"before")
    await kafka_server.kill()
    assert kafka_server.pid is None
    await kafka_server.start()
    for _ in range(20):
        await kafka_server.freeze()
        assert set(threads(kafka_server.pid)) == {"T"}, "each of its hundred threads stands still"
        await kafka_server.thaw()
    await kafka_server.restart()
    assert await first(kafka_server.bootstrap, namespace) == b"before"


@pytest.mark.postgres
async def test_a_row_goes_through_postgresql_and_comes_back(postgres_url: str) -> None:
    await run(postgres_url, "create table t (v text)")
    await run(postgres_url, "insert into t values ('there')")
    assert await run(postgres_url, "select v from t") == "there"


@pytest.mark.postgres
async def test_each_test_has_an_empty_database(postgres_url: str) -> None:
    assert await run(postgres_url, "select count(*)::text from pg_tables where schemaname = 'public'") == "0"


@pytest.mark.postgres
async def test_postgresql_keeps_what_it_committed_over_kill_9_and_freeze(postgres_server: Postgres, postgres_url: str) -> None:
    await run(postgres_url, "create table t (v text)")
    await run(postgres_url, "insert into t values ('before')")
    await postgres_server.kill()
    await postgres_server.start()
    await postgres_server.freeze()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(postgres_url, timeout=0.3)
    await postgres_server.thaw()
    assert await run(postgres_url, "select v from t") == "before"


@pytest.mark.postgres
@pytest.mark.timeout(60)
def test_a_server_does_not_outlive_a_killed_parent() -> None:
    code = (
        "import asyncio, sys, time\nfrom deploy.local.postgres import Postgres\np = Postgres()\nasyncio.run(p.start())\n"
        "print(p.pid, p._process.folder, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        parent.kill()
    until(lambda: not Path("/proc", pid).exists())
    shutil.rmtree(folder, ignore_errors=True)  # another run beside this one may have found it without its owner


def test_jars_are_the_listed_ones() -> None:
    jars.verify()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: flip_a_byte(folder / "kafka-clients-4.3.0.jar"), "kafka-clients-4.3.0.jar was altered"),
        (lambda folder: (folder / "slf4j-api-1.7.36.jar").unlink(), "slf4j-api-1.7.36.jar is missing"),
        (lambda folder: (folder / "extra.jar").write_bytes(b""), "extra.jar is not on the list"),
    ],
)
def test_one_altered_byte_a_jar_too_many_or_too_few_is_refused(tmp_path: Path, change: object, words: str) -> None:
    folder = tmp_path / "kafka"
    shutil.copytree(jars.JARS, folder)
    assert callable(change)
    change(folder)
    with pytest.raises(jars.Untrusted, match=words):
        jars.verify(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lines: [*lines[:2], "oops", *lines[2:]],
            "line 3 of deploy/kafka/jars.sha256 is not a jar's SHA-256 and name",
        ),
        (lambda lines: [lines[0] + " and more"], "line 1 of deploy/kafka/jars.sha256 is not"),
        (lambda lines: [lines[0][1:]], "line 1 of deploy/kafka/jars.sha256 is not"),
        (lambda lines: ["\udcff" + lines[0]], "line 1 of deploy/kafka/jars.sha256 is not"),
        (lambda lines: None if lines else [], "deploy/kafka/jars.sha256 cannot be read: No such file or directory."),
    ],
)
def test_a_list_of_jars_that_cannot_be_read_is_a_sentence_of_the_command(tmp_path: Path, change: object, words: str) -> None:
    shutil.copytree(jars.ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    written = tmp_path / "deploy" / "kafka" / "jars.sha256"
    assert callable(change)
    lines = change(written.read_text().splitlines())
    written.unlink()
    if lines is not None:
        written.write_text("\n".join(lines), errors="surrogateescape")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "prepare"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(words)
    assert done.stderr.endswith("`git restore deploy/kafka/jars.sha256` brings back the list\n")
    assert len(done.stderr.splitlines()) == 1


def test_jars_that_maven_could_not_bring_are_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(jars.Untrusted, match="Maven could not bring the jars"):
        jars.bring(Path("/bin/false"), tmp_path / "kafka")
    with pytest.raises(jars.Untrusted, match=r"is missing"):
        jars.bring(Path("/bin/true"), tmp_path / "kafka")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "major"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_392"', 8), ('openjdk version "21" 2023', 21), ("", 0)],
)
def test_java_says_its_version_in_many_ways(words: str, major: int) -> None:
    assert packages.version(words) == major


def test_what_is_missing_is_named_where_it_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    need = packages.Need("Java 17 or newer", lambda: None, ("default-jre-headless",))
    with pytest.raises(packages.Missing, match=r"Java 17 or newer.*apt-get install default-jre-headless"):
        packages.ensure(lambda _: None, [need])


async def make_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def first(bootstrap: str, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            value: bytes = (await consumer.getone()).value
            return value
    finally:
        await consumer.stop()


async def run(url: str, sql: str) -> str | None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        value: str | None = await connection.fetchval(sql)
        return value
    finally:
        await connection.close()


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def until(holds: object, within: float = 10) -> None:
    assert callable(holds)
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ports_that_are_given_one_after_the_other_are_never_the_same() -> None:
    given = [port for _ in range(100) for port in ports.free(2)]
    assert len({*given}) == 200
    assert {port % ports.SHARES for port in given} == {os.getpid() % ports.SHARES}, "those of other processes are others"
