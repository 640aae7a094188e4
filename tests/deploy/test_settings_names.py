"""A name that begins like ours and means nothing is told, wherever it stands."""

from pathlib import Path

import pytest

from deploy import settings
from schemas.errors import Misconfigured
from tests.deploy.judged import DESTINATION, SECRET, SHARED, installed, told, wrong


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RINGHOOK_BUSURL", "; did you mean RINGHOOK_BUS_URL?"),
        ("RINGHOOK_CLIENT_ID", "; did you mean RINGHOOK_RING_CLIENT_ID?"),
        ("RINGHOOK_HMAC_KEY_FILE", "; did you mean RINGHOOK_RING_HMAC_KEY_FILE?"),
        ("RINGHOOK_EXCHANGE_SECRET_NEXTT", "; did you mean RINGHOOK_EXCHANGE_SECRET_NEXT?"),
        ("RINGHOOK_STRANGE", ""),
        ("RINGHOOK_PORT", ""),
    ],
)
@pytest.mark.parametrize("value", ["8080", ""])
def test_a_misspelt_name_is_told_in_the_environment_as_in_env(tmp_path: Path, name: str, meant: str, value: str) -> None:
    words = f"{name} is not a name that ringhook knows{meant}"
    assert wrong(tmp_path, f"{name}={value}\n") == [f".env:+1: {words}"]
    installed(tmp_path)
    assert told(tmp_path, environment={name: value}) == [f"environment: {words}"]


LINKS = {  # of services called ringhook and ringhook-ingress
    "RINGHOOK_SERVICE_HOST": "10.0.0.11",
    "RINGHOOK_SERVICE_PORT": "8080",
    "RINGHOOK_SERVICE_PORT_PUBLIC": "8080",
    "RINGHOOK_PORT": "tcp://10.0.0.11:8080",
    "RINGHOOK_PORT_8080_TCP": "tcp://10.0.0.11:8080",
    "RINGHOOK_PORT_8080_TCP_PROTO": "tcp",
    "RINGHOOK_PORT_8080_TCP_PORT": "8080",
    "RINGHOOK_PORT_8080_TCP_ADDR": "10.0.0.11",
    "RINGHOOK_INGRESS_SERVICE_HOST": "10.0.0.12",
    "RINGHOOK_INGRESS_PORT": "udp://10.0.0.12:53",
    "RINGHOOK_INGRESS_PORT_53_UDP_ADDR": "10.0.0.12",
}


def test_what_kubernetes_sets_for_a_service_of_our_name_stops_nothing(tmp_path: Path) -> None:
    installed(tmp_path)
    assert told(tmp_path, environment=LINKS) == []


def test_the_same_names_in_env_are_somebodys_mistake(tmp_path: Path) -> None:
    assert len(wrong(tmp_path, "".join(f"{name}={value}\n" for name, value in LINKS.items()))) == len(LINKS)


def test_a_name_that_the_file_mentions_is_known(tmp_path: Path) -> None:
    more = DESTINATION.replace("ALERTS", "RINGHOOK_ALERTS")
    assert wrong(tmp_path, f"RINGHOOK_ALERTS={SECRET}\n", more) == []
    (tmp_path / "secret").write_text(SECRET)
    lines = (tmp_path / ".env").read_text().splitlines()[:-1]
    (tmp_path / ".env").write_text("\n".join(lines))
    found = settings.read("up", {"RINGHOOK_ALERTS_FILE": "secret"}, tmp_path)
    assert found.destinations == ("alerts",)


def test_names_of_others_are_their_own(tmp_path: Path) -> None:
    installed(tmp_path)
    assert told(tmp_path, environment={"MYRINGHOOK_X": "x", "ringhook_x": "x", "STRANGE": "x"}) == []


def test_what_the_tests_read_stops_nothing_in_the_environment_and_is_a_mistake_in_env(tmp_path: Path) -> None:
    installed(tmp_path)
    assert told(tmp_path, environment={"RINGHOOK_TEST_KAFKA_URL": "kafka://h", "RINGHOOK_CHAOS_SECONDS": "9"}) == []
    with pytest.raises(Misconfigured, match="There is no configuration"):
        settings.read("up", {"RINGHOOK_TEST_KAFKA_URL": "kafka://h"}, tmp_path / "elsewhere")
    assert len(wrong(tmp_path, "RINGHOOK_TEST_KAFKA_URL=kafka://h\n")) == 1


def test_the_mounted_file_of_a_name_that_only_commands_read_is_judged_too(tmp_path: Path) -> None:
    installed(tmp_path)
    for_commands = {"RINGHOOK_TOKEN_FILE": "nowhere"}
    both = "environment: RINGHOOK_TOKEN_FILE is set, and RINGHOOK_TOKEN too (.env:"
    assert [problem.startswith(both) for problem in told(tmp_path, environment=for_commands)] == [True]
    assert [problem.startswith(both) for problem in told(tmp_path, "migrate", for_commands)] == [True]
    lines = (tmp_path / ".env").read_text().splitlines()
    (tmp_path / ".env").write_text("\n".join(line for line in lines if not line.startswith("RINGHOOK_TOKEN=")))
    words = "environment: RINGHOOK_TOKEN_FILE names a file that cannot be read: No such file or directory"
    assert told(tmp_path, environment=for_commands) == [words]


@pytest.mark.parametrize("role", ["ingress", "dispatch", "deliver", "admin"])
def test_a_role_asks_for_no_file_that_another_role_reads(tmp_path: Path, role: str) -> None:
    installed(tmp_path, more=SHARED)
    kept = (tmp_path / ".env").read_text().replace("RINGHOOK_VAULT_KEYS", "#")
    (tmp_path / ".env").write_text(kept)
    assert told(tmp_path, role, {"RINGHOOK_VAULT_KEYS_FILE": "nowhere"}) == []
    assert len(told(tmp_path, "linker", {"RINGHOOK_VAULT_KEYS_FILE": "nowhere"})) == 1
