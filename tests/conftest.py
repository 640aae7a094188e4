"""The real Kafka and the real PostgreSQL, each started at most once per run and only when a test asks for it.

RINGHOOK_TEST_KAFKA_URL and RINGHOOK_TEST_POSTGRES_URL name running ones. One that cannot start is a failure, never a skip.
"""

import asyncio
import os
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres, create_database, drop_database
from deploy.local.process import sweep

Result = TypeVar("Result")
Server = TypeVar("Server", Kafka, Postgres)
MEMORY = "/dev/shm"  # noqa: S108 - TemporaryDirectory makes a folder of its own there


def now(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a fixture's own awaits to their end, in a loop that no test ever sees."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what processes of this run left behind that were cut off, by Ctrl-C above all: their servers died with them."""
    if not hasattr(config, "workerinput"):
        for name in ("kafka", "postgres"):
            sweep(name)


@contextmanager
def standing(server: Server) -> Iterator[Server]:
    """Start a server for as long as the block lasts; then it is gone, with all that it held."""
    try:
        now(server.start())
        yield server
    finally:
        now(server.stop())
        server.remove()


def broker(**settings: str) -> Kafka:
    """Return a Kafka, not yet started; it lives for minutes: compiling better costs more than it brings."""
    return Kafka(settings=settings, java=("-XX:TieredStopAtLevel=1",))


@pytest.fixture(scope="session")
def kafka_of_this_run() -> Iterator[Kafka]:
    with standing(broker()) as kafka:
        yield kafka


@pytest.fixture
def kafka_server(kafka_of_this_run: Kafka) -> Iterator[Kafka]:
    """The broker itself, to be killed, frozen and restarted; whatever a test does, the next one finds it running."""
    yield kafka_of_this_run
    now(kafka_of_this_run.thaw())
    if kafka_of_this_run.pid is None:
        now(kafka_of_this_run.start())


@pytest.fixture(scope="session")
def kafka_url(request: pytest.FixtureRequest) -> str:
    """`kafka://127.0.0.1:PORT`; topics of a test are its own by `namespace`."""
    given = os.environ.get("RINGHOOK_TEST_KAFKA_URL")
    if given:
        return given
    kafka: Kafka = request.getfixturevalue("kafka_of_this_run")
    return kafka.url


@pytest.fixture(scope="session")
def postgres_of_this_run() -> Iterator[Postgres]:
    # No test takes the power away, and what a process wrote outlives its kill -9 in the system's memory.
    with standing(Postgres(settings={"fsync": "off"})) as postgres:
        yield postgres


@pytest.fixture
def postgres_server(postgres_of_this_run: Postgres) -> Iterator[Postgres]:
    """The server itself, to be killed, frozen and restarted; whatever a test does, the next one finds it running."""
    yield postgres_of_this_run
    now(postgres_of_this_run.thaw())
    if postgres_of_this_run.pid is None:
        now(postgres_of_this_run.start())


@pytest.fixture(scope="session")
def postgres_base(request: pytest.FixtureRequest) -> str:
    """The URL of a server on which databases may be made."""
    given = os.environ.get("RINGHOOK_TEST_POSTGRES_URL")
    if given:
        return given
    postgres: Postgres = request.getfixturevalue("postgres_of_this_run")
    return postgres.url


@pytest.fixture
def postgres_url(postgres_base: str) -> Iterator[str]:
    """`postgresql://…` of a database that is this test's alone, and empty."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield now(create_database(postgres_base, name))
    now(drop_database(postgres_base, name))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> Iterator[str]:
    """`sqlite:////…` of a file that does not exist yet; in memory where the system has such a place, as with PostgreSQL above."""
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as folder:
        yield f"sqlite:///{folder}/store.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """Both stores in turn, empty."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has, so that one broker serves them all."""
    return f"t{uuid.uuid4().hex[:10]}"
