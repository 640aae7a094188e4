"""The runbooks say what the findings say."""

from deploy import runbooks


def test_every_page_is_current_and_there_is_no_other() -> None:
    there = {path.name: path.read_text() for path in runbooks.FOLDER.glob("*.md")}
    assert there == runbooks.files(), "python -m deploy.runbooks writes them"
