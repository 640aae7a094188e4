"""Each cause gives its finding first; a healthy installation has none."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.findings import pages
from schemas.findings.facts import Facts, Link, Met, Served, SignIn
from schemas.findings.pages import PAGES
from schemas.findings.rules import findings
from schemas.findings.steps import WORDS, checklist
from schemas.findings.story import CONNECTED, story
from schemas.findings.urls import Looked, Probed, of_probe, of_urls
from schemas.ring.misfit import Misfit

NOW = 1_771_130_906.0
AGO = NOW - 120.0
CODE = Met(kind="code", proven=True, first_at=AGO, last_at=AGO)
BROWSER = Met(kind="redirect", proven=False, first_at=AGO, last_at=AGO)
WEBHOOK = Met(kind="webhook", proven=True, first_at=NOW - 10, last_at=NOW - 10)
UNCLAIMED = Link(
    state="unclaimed",
    marks=(("received", AGO), ("exchanged", AGO + 0.2), ("unclaimed", AGO + 0.4)),
    account="ava1.ring.account.A",
)
CLAIMED = Link(state="claimed", marks=(*UNCLAIMED.marks, ("claimed", AGO + 9)), account="ava1.ring.account.A")
AWAITING = Link(state="awaiting", marks=(*CLAIMED.marks, ("awaiting", AGO + 10)), account="ava1.ring.account.A")
COMPLETED = Link(state="completed", marks=(*AWAITING.marks, ("completed", AGO + 11)), account="ava1.ring.account.A")
CONFIRMED = SignIn(state="completed", marks=(("signed in", AGO + 8),), matched=True)
LOOKING = SignIn(state="received", marks=(("signed in", AGO),))


def met(kind: Any, *, ago: float = 60.0, proven: bool = False, **detail: str) -> Met:  # noqa: ANN401 - of a closed set
    return Met(kind=kind, proven=proven, first_at=NOW - ago, last_at=NOW - ago, detail=detail)


def ended(state: Any, cause: Any, reason: str) -> Link:  # noqa: ANN401 - as above
    return Link(state=state, marks=(("received", AGO), (state, AGO + 1)), reason=reason, cause=cause)


def facts(**known: Any) -> Facts:  # noqa: ANN401 - the fields of Facts
    return Facts(now=NOW, **known)


CAUSES: dict[str, tuple[Facts, ...]] = {
    "RH-101": (facts(), facts(contacts=(met("probe"),))),
    "RH-102": (facts(contacts=(met("code"),)), facts(contacts=(met("redirect"), met("probe")))),
    "RH-103": (facts(contacts=(met("code.wrong_secret"),)),),
    "RH-104": (facts(contacts=(met("code.form_unknown", fields="kode"),)),),
    "RH-105": (
        facts(contacts=(met("webhook.refused", reason="mismatch"),)),
        facts(contacts=(CODE, BROWSER, met("webhook.refused", reason="malformed")), links=(COMPLETED,), sign_ins=(CONFIRMED,)),
    ),
    "RH-201": (facts(contacts=(CODE,), links=(ended("expired", "late", "linker was down"),)),),
    "RH-202": (facts(links=(ended("rejected", "client", "Ring refused our client id or secret (401)"),)),),
    "RH-203": (facts(links=(ended("rejected", "refused", "Ring refused the code (400)"),)),),
    "RH-204": (facts(links=(ended("lost", "unanswered", "no clear answer to the code"),)),),
    "RH-301": (facts(contacts=(CODE,), links=(UNCLAIMED,)),),
    "RH-302": (facts(contacts=(CODE, BROWSER), links=(UNCLAIMED,)),),
    "RH-303": (facts(contacts=(CODE, BROWSER), links=(UNCLAIMED,), sign_ins=(LOOKING,)),),
    "RH-304": (facts(contacts=(CODE, met("redirect.stale")), links=(UNCLAIMED,)),),
    "RH-401": (facts(contacts=(CODE, BROWSER), links=(AWAITING,), sign_ins=(CONFIRMED,)),),
    "RH-402": (
        facts(contacts=(CODE, BROWSER), links=(Link(state="claimed", marks=CLAIMED.marks, reason="503"),), sign_ins=(CONFIRMED,)),
    ),
    "RH-501": (facts(contacts=(CODE, BROWSER), links=(COMPLETED,), sign_ins=(CONFIRMED,)),),
    "RH-601": (facts(contacts=(CODE, BROWSER, WEBHOOK), links=(COMPLETED,), sign_ins=(CONFIRMED,), reconnect=2),),
    "RH-701": tuple(
        facts(contacts=(WEBHOOK,), links=(COMPLETED,), destinations=(Served(name="crm", state=state, failure="401"),))
        for state in ("failing", "throttled")
    ),
    "RH-702": (facts(contacts=(WEBHOOK,), links=(COMPLETED,), destinations=(Served(name="crm", state="gone"),)),),
    "RH-703": (
        facts(
            contacts=(WEBHOOK,),
            links=(COMPLETED,),
            destinations=(Served(name="crm", state="well", behind=70_000, behind_since=NOW - 3_600),),
        ),
    ),
    "RH-704": (facts(contacts=(CODE, BROWSER, WEBHOOK), links=(COMPLETED,), sign_ins=(CONFIRMED,), waiting_since=AGO),),
}
HEALTHY = (
    facts(contacts=(CODE, BROWSER, WEBHOOK), links=(COMPLETED,), sign_ins=(CONFIRMED,)),
    facts(
        contacts=(CODE, BROWSER, WEBHOOK, met("webhook.refused", ago=7_200), met("code.wrong_secret", ago=7_200)),
        links=(UNCLAIMED, COMPLETED, ended("rejected", "refused", "400")),
        sign_ins=(CONFIRMED, LOOKING),
        destinations=(Served(name="crm", state="well", behind=3, behind_since=NOW - 2), Served(name="b", state="paused")),
        waiting_since=NOW - 5,
    ),
    facts(contacts=(CODE,), links=(Link(state="received", marks=(("received", NOW - 1),)),)),
    facts(
        contacts=(CODE, BROWSER),
        links=(Link(state="claimed", marks=(*CLAIMED.marks, ("claimed", NOW - 1))),),
        sign_ins=(CONFIRMED,),
    ),
)
LOOKS: dict[str, tuple[Looked, ...]] = {
    "RH-107": (Looked(name="Webhook URL", url="https://ring.example.com/ring/webhook", obstacle="there is no such name"),),
    "RH-108": (
        Looked(name="Webhook URL", url="https://ring.example.com/ring/webhook", status=301, location="https://www.example.com/"),
    ),
    "RH-109": (Looked(name="Webhook URL", url="https://ring.example.com/ring/webhook", status=404),),
}

PROBES: dict[str, tuple[Probed, ...]] = {
    "RH-110": (Probed(id="p", status=401), Probed(id="p", obstacle="no answer came in time")),
    "RH-111": (Probed(id="p", status=200, held=False),),
}


@pytest.mark.parametrize(("code", "known"), [(code, known) for code, every in CAUSES.items() for known in every])
def test_each_cause_gives_its_finding_first(code: str, known: Facts) -> None:
    first = findings(known)[0]
    assert first.code == code
    assert first.seen.endswith(".")


@pytest.mark.parametrize(("code", "looks"), LOOKS.items())
def test_each_trouble_with_a_public_url_gives_its_finding(code: str, looks: tuple[Looked, ...]) -> None:
    assert [one.code for one in of_urls(looks)] == [code]


@pytest.mark.parametrize(("code", "probed"), [(code, probed) for code, every in PROBES.items() for probed in every])
def test_each_trouble_of_the_doctors_own_webhook_gives_its_finding(code: str, probed: Probed) -> None:
    assert [one.code for one in of_probe(probed)] == [code]


@pytest.mark.parametrize("held", [True, None])
def test_a_webhook_that_came_through_gives_none(held: bool | None) -> None:  # noqa: FBT001 - a table
    assert not [*of_probe(Probed(id="p", status=200, held=held))]


def test_what_is_wrong_with_all_urls_is_said_once() -> None:
    looks = [Looked(name=name, url=f"https://ring.example.com/{name}", obstacle="no answer came in time") for name in "abc"]
    (only,) = of_urls(looks)
    assert only.seen == "No URL was reached from this machine: no answer came in time."


def test_why_a_signature_does_not_fit_is_said_in_words() -> None:
    for why in get_args(Misfit):
        first = findings(facts(contacts=(WEBHOOK, met("webhook.refused", reason="mismatch", misfit=why))))[0]
        assert (first.code, first.sure, pages.MISFITS[why] in first.seen) == ("RH-105", "certain", True)


@pytest.mark.parametrize("known", HEALTHY)
def test_a_healthy_installation_has_none(known: Facts) -> None:
    assert findings(known) == []


def test_every_page_has_its_cause_here_and_every_code_is_one_pages() -> None:
    assert {page.code for page in PAGES} == CAUSES.keys() | LOOKS.keys() | PROBES.keys()
    assert len({page.code for page in PAGES}) == len(PAGES)


def test_what_may_have_been_strangers_leaves_the_portals_trap_in_the_list() -> None:
    assert [one.code for one in findings(facts(contacts=(met("webhook.refused"),)))] == ["RH-105", "RH-101"]


@given(st.builds(Facts, now=st.just(NOW)))
def test_whatever_is_recorded_there_is_a_checklist_of_nine_with_one_next_at_most(known: Facts) -> None:
    findings(known)
    steps = checklist(known)
    assert [step.name for step in steps] == list(WORDS)
    assert sum(step.next for step in steps) == (any(step.at is None for step in steps))


@pytest.mark.parametrize(
    ("known", "done", "following"),
    [
        (facts(), 0, "code"),
        (facts(contacts=(met("code"),)), 1, "tokens"),
        (CAUSES["RH-301"][0], 3, "browser"),
        (CAUSES["RH-302"][0], 4, "sign-in"),
        (CAUSES["RH-401"][0], 7, "completed"),
        (CAUSES["RH-501"][0], 8, "webhook"),
        (HEALTHY[0], 9, None),
    ],
)
def test_the_nine_steps_are_ticked_as_far_as_they_happened(known: Facts, done: int, following: str | None) -> None:
    steps = checklist(known)
    assert sum(step.at is not None for step in steps) == done
    assert next((step.name for step in steps if step.next), None) == following


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (facts(), 'No call from Ring yet: the portal\'s "Log in with Ring" button only allowlists a tester'),
        (
            facts(contacts=(met("code.wrong_secret"),)),
            "Codes come to another path than RINGHOOK_EXCHANGE_SECRET names: the Token",
        ),
        (CAUSES["RH-301"][0], "So far: Ring says whose they are (users/me). Next: Ring sends the user's browser"),
        (HEALTHY[0], CONNECTED),
    ],
)
def test_the_line_of_a_terminal_says_where_it_stands(known: Facts, words: str) -> None:
    assert story(known).startswith(words)


def test_the_line_names_what_the_doctor_explains_and_nothing_that_was_seen() -> None:
    known = facts(contacts=(WEBHOOK,), links=(COMPLETED,), destinations=(Served(name="crm", state="failing", failure="canary"),))
    assert story(known) == f"{CONNECTED} `ringhook doctor` explains RH-701."
    assert story(facts(contacts=(met("code.wrong_secret"),))).endswith("that .env has. `ringhook doctor` explains RH-101.")
