import pytest

from schemas.findings.contact import CODE_ONLY, CONNECTED, NO_CALL, REDIRECT, Contact, story


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


def test_a_stranger_at_the_door_is_no_call_from_ring() -> None:
    told = story([Contact("webhook.refused", proven=False), Contact("code", proven=False)])
    assert "the Token Exchange URL and the Webhook URL" in told
    assert "none that proves to be Ring's" in told
    assert NO_CALL in told
