"""An app is its key, whatever variables hold it."""

from schemas.ring import app


def test_an_app_keeps_its_name_and_another_key_is_another_app() -> None:
    assert app.named(b"key") == "371f705e54ab7a63" == app.named(b"key")
    assert app.named(b"key") != app.named(b"another")
