"""`ringhook explain`: whichever kind of thing an id names, its life in lines."""

import json

import orjson
import pytest
from click.testing import CliRunner, Result

from deploy.command.explain import explain
from schemas.errors import Misconfigured
from tests.deploy.conftest import Answering
from tests.deploy.test_deliveries_command import ATTEMPT

UNKNOWN = (404, b'{"error":{"message":"Nothing is known under this id."}}')
AT = "2026-02-13T13:39:57.200155+00:00"
LIFE = [
    ("received", {"type": "motion_detected", "received_at": AT, "app": "app1", "found": False}),
    ("received", {"type": "motion_detected", "received_at": AT, "app": "app1", "found": True}),
    (
        "recorded",
        {"type": "com.ring.motion_detected", "subject": "d1", "accountid": "a1", "partneruserid": "u-1", "linked": True},
    ),
    ("recorded", {"unreadable": "no \x1b[31mevent"}),
    ("attempted", ATTEMPT | {"verdict": "refused", "status": 422, "failure": None}),
    ("buried", {"reason": "refused", "attempts": 3, "status": "422", "account": "a1", "type": None}),
]
EVENT = {
    "event": "r1",
    "life": [{"what": what, "at": AT, "place": f"topic:0:{number}", "facts": facts} for number, (what, facts) in enumerate(LIFE)],
    "scanned": 12,
    "cut": True,
}
SIGN_IN = {"state": "expired", "steps": [{"name": "signed in", "at": AT}], "finding": "tap Sign In in the Ring app again"}


def run(*words: str) -> Result:
    done = CliRunner().invoke(explain, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_an_events_life_is_lines(port: type[Answering]) -> None:
    port.answers = [UNKNOWN, UNKNOWN, (200, orjson.dumps(EVENT))]
    lines = run("r1").stdout.splitlines()
    assert lines[:2] == [
        "An event, r1.",
        "  2026-02-13 13:39:57Z  received from Ring, and held: motion_detected  (topic:0:0)",
    ]
    assert [line.split("Z  ", 1)[1] for line in lines[2:-1]] == [
        "found to be of its account, by the device: motion_detected  (topic:0:1)",
        "recorded as com.ring.motion_detected of account a1, linked to your user u-1  (topic:0:2)",
        "recorded, and unreadable: no \\u001b[31mevent  (topic:0:3)",
        "alerts: attempt 1, refused (422)  (topic:0:4)",
        "put on the dead letters: refused, last answer 422  (topic:0:5)",
    ]
    assert lines[-1].startswith("The search ended before all")
    assert [path for path, _ in port.asked] == ["/v1/attempts/r1", "/v1/accounts/r1", "/v1/events/r1"]


def test_a_sign_ins_steps_are_lines(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps(SIGN_IN))]
    assert run("t1").stdout.splitlines() == [
        "A sign-in, expired.",
        "  2026-02-13 13:39:57Z  signed in",
        "  tap Sign In in the Ring app again",
    ]


def test_as_json_it_is_what_the_port_said(port: type[Answering]) -> None:
    port.answers = [(200, orjson.dumps(SIGN_IN))]
    assert json.loads(run("t1", "--json").stdout) == SIGN_IN


def test_what_is_not_known_or_not_said_is_told(port: type[Answering]) -> None:
    port.answers = [UNKNOWN] * 3
    with pytest.raises(Misconfigured, match=r"^Nothing is known under r9: "):
        run("r9")
    with pytest.raises(Misconfigured, match=r"^Say which "):
        run(" ")
    port.answers = [(503, b'{"error":{"message":"Try again."}}')]
    with pytest.raises(Misconfigured, match=r"answered 503: Try again\."):
        run("r1")
