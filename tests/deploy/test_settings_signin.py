"""`[signin] kind = "oidc"`: what is read of it, and what is said of one that cannot work."""

from pathlib import Path

import pytest

from deploy import settings
from ingress.settings import Oidc
from tests.deploy.judged import installed, wrong

ISSUER = 'issuer = "https://login.example.com/realm"\n'
WHOLE = f'kind = "oidc"\n{ISSUER}client_id = "ringhook"\nclient_secret_env = "ALERTS"\n'


def read(directory: Path, signin: str) -> Oidc:
    installed(directory)
    (directory / "ringhook.toml").write_text(f"[signin]\n{signin}")
    edge = settings.read("up", {"ISSUER_SECRET": "canary"}, directory).edge
    assert edge is not None
    assert isinstance(edge.settings.signin, Oidc)
    return edge.settings.signin


def test_an_issuer_a_client_and_its_secret_are_enough(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE.replace("ALERTS", "ISSUER_SECRET"))
    assert (found.issuer, found.client_id, found.scopes) == ("https://login.example.com/realm", "ringhook", ("openid", "email"))
    assert found.client_secret is not None
    assert found.client_secret.reveal() == "canary"
    assert "canary" not in repr(found)


def test_a_client_without_a_secret_and_an_issuer_on_this_machine_may_be_meant(tmp_path: Path) -> None:
    issuer = WHOLE.replace("https://login.example.com/realm", "http://127.0.0.1:9400").replace(
        'client_secret_env = "ALERTS"\n', ""
    )
    found = read(tmp_path, f'{issuer}scopes = ["openid"]\nallow_networks = ["127.0.0.0/8"]\n')
    assert (found.client_secret, found.scopes, found.allow_networks) == (None, ("openid",), ("127.0.0.0/8",))


@pytest.mark.parametrize(
    ("signin", "words"),
    [
        ('kind = "oidc"\nclient_id = "x"', "ringhook.toml:1: issuer: is missing: your identity provider"),
        (f'kind = "oidc"\n{ISSUER}', "ringhook.toml:1: client_id: is missing: the name by which"),
        (WHOLE.replace("https", "http"), "ringhook.toml:3: issuer: must begin with https://"),
        (
            WHOLE.replace("login.example.com", "user:canary@login.example.com"),
            "ringhook.toml:3: issuer: holds a user or password",
        ),
        (WHOLE.replace("/realm", "?realm=x"), "ringhook.toml:3: issuer: must have no ? and no #"),
        (WHOLE.replace("/realm", "#realm"), "ringhook.toml:3: issuer: must have no ? and no #"),
        (WHOLE.replace("/realm", "/" + "x" * 200), "ringhook.toml:3: issuer: must have no ? and no #, and at most 200"),
        (WHOLE.replace("login.example.com", "10.0.0.1"), "ringhook.toml:3: issuer, allow_networks: leads into a network"),
        (WHOLE.replace("login.example.com", "localhost"), "ringhook.toml:3: issuer, allow_networks: leads into a network"),
        (WHOLE.replace("login.example.com", "0x7f.1"), "ringhook.toml:3: issuer: holds an address that is not written as four"),
        (WHOLE.replace("login.example.com", "[broken"), "ringhook.toml:3: issuer: is not an address"),
        (WHOLE.replace("login.example.com", "login..example.com"), "ringhook.toml:3: issuer: is not an address"),
        (WHOLE.replace("ALERTS", "whsec_canary"), "ringhook.toml:5: client_secret_env: the variable named here"),
        (WHOLE + 'scopes = ["email"]', 'ringhook.toml:6: scopes: must hold "openid"'),
        (WHOLE + 'scopes = ["openid email"]', "ringhook.toml:6: scopes: each must be one word"),
        (WHOLE + 'scopes = "openid"', "ringhook.toml:6: scopes: must be a list in [ ]"),
        (WHOLE + 'allow_networks = ["10.0.0.1/8"]', "ringhook.toml:6: allow_networks: item 1 is an address and a network in one"),
        (WHOLE + 'client_secret = "canary"', "ringhook.toml:6: client_secret is not known in [signin]"),
    ],
)
def test_what_cannot_work_is_told_with_its_line(tmp_path: Path, signin: str, words: str) -> None:
    found = wrong(tmp_path, signin=signin)
    assert any(problem.startswith(words) for problem in found), found
