"""`ringhook destinations status`, `pause` and `resume`: what they make of the answer."""

from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from deploy.command.destinations import destinations
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering

WELL: dict[str, Any] = {
    "name": "crm",
    "state": "well",
    "closed_at": None,
    "closed_by": None,
    "copies": 2,
    "obey": 2,
    "quiet_until_at": None,
    "in_flight": 0,
    "waiting": 0,
    "next_at": None,
    "held": 0,
    "behind": 3,
    "behind_since_at": None,
    "accepted_at": "2026-02-13T13:39:57+00:00",
    "dead": 0,
    "dead_at": None,
    "failed_at": None,
    "failure": None,
}
WAITS = WELL | {"state": "throttled", "quiet_until_at": "2026-02-13T13:50:00+00:00"}
TOLD = "crm  throttled  asked us to wait until 2026-02-13 13:50:00Z, 3 behind, last accepted 2026-02-13 13:39:57Z"


def run(*words: str) -> str:
    done = CliRunner().invoke(destinations, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout.strip()


@pytest.mark.parametrize("command", ["status", "check", "pause", "resume"])
def test_an_empty_name_is_asked_for_before_anything_is(port: type[Answering], command: str) -> None:
    with pytest.raises(Misconfigured, match=r"^Say which destination: "):
        run(command, "")
    assert not port.asked


def test_status_says_until_when_one_has_asked_for_rest(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps({"destinations": [WAITS]}))]
    assert run("status") == TOLD
    port.answers = [(200, orjson.dumps({"destinations": [WAITS]}))]
    assert orjson.loads(run("status", "--json"))["destinations"][0]["quiet_until_at"] == WAITS["quiet_until_at"]


def test_status_says_of_what_waits_when_the_next_is_due(port: type[Answering]) -> None:
    waits = {"waiting": 1200, "next_at": "2026-02-13T14:01:30+00:00"}
    port.answers = [(200, orjson.dumps({"destinations": [WELL | waits]}))]
    assert "3 behind, 1200 wait in the store, the next is due 2026-02-13 14:01:30Z, last accepted" in run("status")


def test_status_says_beside_the_state_what_one_lost_that_refuses_everything(port: type[Answering]) -> None:
    refuses = {"accepted_at": None, "dead": 3, "dead_at": "2026-02-13T13:39:59+00:00"}
    failed = {"failed_at": "2026-02-13T13:39:58+00:00", "failure": "400"}
    port.answers = [(200, orjson.dumps({"destinations": [WELL | refuses | failed]}))]
    assert run("status") == (
        "crm  well  3 put on the dead letters since it started, the last 2026-02-13 13:39:59Z, 3 behind, none accepted since "
        "it started, last failure 2026-02-13 13:39:58Z: 400"
    )


@pytest.mark.parametrize(
    ("wish", "seen", "words"),
    [
        ("resume", WELL, "crm is sent to again."),
        ("resume", WAITS, f"The wish is held. Just now:\n{TOLD}"),
        ("resume", WELL | {"obey": 1}, "crm is sent to again.\n1 of 2 copies have not heard of it yet"),
        (
            "resume",
            WELL | {"state": "not running", "copies": 0, "obey": 0},
            "The wish is held. Just now:\ncrm  not running  no copy of",
        ),
        (
            "resume",
            WELL | {"state": "not configured", "copies": 0, "obey": 0},
            "crm is open again. It is not in ringhook.toml: nothing is sent to it until it is (`ringhook reload`).",
        ),
        ("pause", WELL | {"state": "paused"}, "crm is paused: nothing is sent to it"),
        (
            "pause",
            WELL | {"state": "gone", "closed_by": "its answer 410", "closed_at": "2026-02-13T13:39:57+00:00"},
            "The wish is held. Just now:\ncrm  gone  closed by its answer 410 since",
        ),
    ],
)
def test_a_wish_is_answered_with_how_the_destination_then_stands(
    port: type[Answering], wish: str, seen: dict[str, Any], words: str
) -> None:
    port.answers = [(200, orjson.dumps(seen))]
    assert run(wish, "crm").startswith(words)
