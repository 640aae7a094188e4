"""Who may call the internal port of a role, and by which names."""

from pathlib import Path

import pytest

from deploy import roles, settings
from ingress.errors import Misdirected, Unauthorized
from tests.deploy.judged import SHARED, TOKEN, installed, wrong


def gate(directory: Path, role: str, **environment: str) -> roles.Gate:
    installed(directory, more="" if role == "up" else SHARED)
    with (directory / "ringhook.toml").open("a") as file:
        file.write(TOKEN)
    return roles.gate(settings.read(role, environment, directory))


@pytest.mark.parametrize(("role", "names"), [("up", 2), ("admin", 2), ("linker", 2), ("ingress", 0), ("dispatch", 0)])
def test_the_roles_that_answer_v1_know_its_callers(tmp_path: Path, role: str, names: int) -> None:
    assert len(gate(tmp_path, role).tokens) == names


HOSTS = {
    "linker.internal:8081": True,  # of RINGHOOK_INTERNAL_URL
    "RINGHOOK-linker": True,  # of RINGHOOK_INTERNAL_HOSTS
    "ringhook-linker.ring.svc:80": True,
    "localhost:8081": True,
    "ringhook-linker.ring.svc.:80": True,  # the same name, written from the root
    "127.0.0.1:8081": True,
    "[::1]:8081": True,
    "10.0.0.7:8081": True,  # an address cannot be rebound, whosever it is
    "[fd00::7]": True,
    "other.internal:8081": False,
    "svc": False,
    "localhost..:8081": False,
    "127.0.0.1.evil.example.com": False,
    "127.1": False,
    "2130706433": False,
    "0x7f000001:8081": False,
    "": False,
    "[": False,
}


@pytest.mark.parametrize(("host", "ours"), HOSTS.items())
def test_the_internal_port_is_called_by_names_that_are_ours_and_by_addresses(tmp_path: Path, host: str, *, ours: bool) -> None:
    more = {"RINGHOOK_INTERNAL_HOSTS": "ringhook-linker, ringhook-linker.ring.SVC", "RINGHOOK_INTERNAL_LISTEN": "0.0.0.0:8081"}
    known = gate(tmp_path, "linker", RINGHOOK_INTERNAL_URL="http://Linker.internal:8081", **more)
    with pytest.raises(Unauthorized if ours else Misdirected):
        known.admit({"Host": host}, "broker")


def test_without_names_of_its_own_a_listener_on_every_address_is_called_by_addresses_alone(tmp_path: Path) -> None:
    known = gate(tmp_path, "admin", RINGHOOK_INTERNAL_LISTEN="0.0.0.0:8081")
    with pytest.raises(Unauthorized):
        known.admit({"Host": "192.0.2.7:8081"}, "read")
    with pytest.raises(Misdirected, match="RINGHOOK_INTERNAL_HOSTS"):
        known.admit({"Host": "ringhook-admin:8081"}, "read")


@pytest.mark.parametrize("names", ["http://admin", "admin:8081", "a b", "*", "*.example.com", "a,-b", "a/b"])
def test_what_is_no_name_is_told(tmp_path: Path, names: str) -> None:
    (problem,) = wrong(tmp_path, f"RINGHOOK_INTERNAL_HOSTS={names}\n")
    assert problem.startswith(".env:+1: RINGHOOK_INTERNAL_HOSTS: must be a name like")
