"""One scene, two installations: `up` on two SQLite files, and every role on Kafka and PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.demo.scene import Scene, opened

ROLES = ("ingress", "linker", "dispatch", "deliver", "admin")


@pytest.fixture(params=["one machine", pytest.param("many machines", marks=[pytest.mark.kafka, pytest.mark.postgres])])
def engines(request: pytest.FixtureRequest, namespace: str) -> dict[str, str]:
    """What an operator puts into the environment to choose the engines; nothing for one machine."""
    if request.param == "one machine":
        return {}
    return {
        "RINGHOOK_BUS_URL": request.getfixturevalue("kafka_url"),
        "RINGHOOK_STORE_URL": request.getfixturevalue("postgres_url"),
        "RINGHOOK_NAMESPACE": namespace,
        "RINGHOOK_SINGLE_BROKER": "yes",
    }


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[Scene]:
    """The simulated Ring, the partner, and ringhook between them."""
    async with opened(tmp_path, roles=ROLES if engines else ("up",), **engines) as made:
        yield made
