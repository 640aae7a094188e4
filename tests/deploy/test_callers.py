"""Who may call the internal port of a role, and by which names."""

from pathlib import Path

import pytest

from deploy import roles, settings
from ingress.errors import Misdirected, Unauthorized
from tests.deploy.judged import TOKEN, installed


def gate(directory: Path, role: str, **environment: str) -> roles.Gate:
    installed(directory)
    with (directory / "ringhook.toml").open("a") as file:
        file.write(TOKEN)
    return roles.gate(settings.read(role, environment, directory))


@pytest.mark.parametrize(("role", "names"), [("up", 2), ("admin", 2), ("linker", 2), ("ingress", 0), ("dispatch", 0)])
def test_the_roles_that_answer_v1_know_its_callers(tmp_path: Path, role: str, names: int) -> None:
    assert len(gate(tmp_path, role).tokens) == names


def test_the_internal_urls_host_is_a_name_of_ours(tmp_path: Path) -> None:
    known = gate(tmp_path, "linker", RINGHOOK_INTERNAL_URL="http://Linker.internal:8081")
    with pytest.raises(Unauthorized):
        known.admit({"Host": "linker.internal:8081"}, "broker")
    with pytest.raises(Misdirected):
        known.admit({"Host": "other.internal:8081"}, "broker")
