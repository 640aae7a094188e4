from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from schemas.topics import DAY, Topic
from workers.bus.sqlite import SqliteBus, connect

ALPHA = Topic(name="alpha", key="test", retention=DAY, writers=("ingress",), readers=("dispatch",), partitions=2)
KEPT = Topic(name="kept", key="test", retention=None, writers=("linker",), readers=("dispatch",), partitions=2, compacted=True)

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


@pytest.fixture
def opened(path: Path) -> Open:
    """Open the bus at `path`; once more is a restart."""

    def open_(query: str = "", **options: object) -> AbstractAsyncContextManager[SqliteBus]:
        settings = {"namespace": "test", "topics": (ALPHA, KEPT)} | options
        return connect(f"sqlite:///{path}{query}", **settings)

    return open_
