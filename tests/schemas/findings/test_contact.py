import pytest

from schemas.findings.contact import (
    CODE_ONLY,
    CONNECTED,
    NO_CALL,
    NONE_PROVEN,
    ONLY_STRANGERS,
    REDIRECT,
    WRONG_URL,
    Contact,
    story,
)


@pytest.mark.parametrize(
    ("contacts", "words"),
    [
        ([], NO_CALL),
        ([Contact("code", proven=True)], CODE_ONLY),
        ([Contact("redirect", proven=True), Contact("code", proven=True)], REDIRECT),
        ([Contact("webhook", proven=True), Contact("redirect", proven=True)], CONNECTED),
        ([Contact("probe", proven=False)], NO_CALL),
    ],
)
def test_what_is_proven_decides_what_is_said(contacts: list[Contact], words: str) -> None:
    assert story(contacts) == words


def test_strangers_at_the_door_are_no_call_from_ring_and_the_words_are_one_story() -> None:
    told = story([Contact("webhook.refused", proven=False), Contact("code", proven=False)])
    assert told.startswith(f"{NONE_PROVEN} Calls came to the Token Exchange URL and the Webhook URL, where anybody can call.")
    assert told.endswith(ONLY_STRANGERS)
    assert "No call from Ring yet" not in told  # perhaps there was one


def test_a_url_copied_wrong_into_the_portal_is_told() -> None:
    assert story([Contact("code.wrong_secret", proven=False)]) == f"{NONE_PROVEN} {WRONG_URL} {ONLY_STRANGERS}"
    assert story([Contact("code.wrong_secret", proven=False), Contact("code", proven=True)]) == CODE_ONLY
