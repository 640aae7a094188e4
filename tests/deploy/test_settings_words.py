"""What is wrong in `ringhook.toml` is said in words for whoever wrote it, not in those of the libraries that read it."""

from pathlib import Path

import pytest

from tests.deploy.judged import DESTINATION, TOKEN, installed, told, wrong

JARGON = (
    "Expected",
    "expected",
    "`str`",
    "`int`",
    "`array`",
    "`object`",
    "enum",
    "field",
    "convert",
    "token'",
    "(at ",
    "statement",
)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (DESTINATION.replace('"alerts"', "5"), "+2: name: must be text in quotes"),
        (DESTINATION.replace('"ALERTS"', "5"), "+4: secret_env: must be text in quotes"),
        (DESTINATION + 'key = "devices"\n', "+5: key: must be one of device, account, none"),
        (DESTINATION + "key = 5\n", "+5: key: must be one of device, account, none"),
        (DESTINATION + 'concurrency = "5"\n', "+5: concurrency: must be a whole number, without quotes"),
        (DESTINATION + "concurrency = 5.5\n", "+5: concurrency: must be a whole number, without quotes"),
        (DESTINATION + 'timeout_s = "5"\n', "+5: timeout_s: must be a number, without quotes"),
        (DESTINATION + 'deliver_unlinked = "yes"\n', "+5: deliver_unlinked: must be true or false"),
        (DESTINATION + 'allow_networks = "10.0.0.0/8"\n', "+5: allow_networks: must be a list in [ ]"),
        (DESTINATION + "allow_networks = [10]\n", "+5: allow_networks: item 1 must be text in quotes"),
        (
            DESTINATION + 'allow_networks = ["10.1.2.3/8"]\n',
            "+5: allow_networks: item 1 is an address and a network in one: write 10",
        ),
        (DESTINATION + 'allow_networks = ["canary"]\n', "+5: allow_networks: item 1 is not a network like 10.0.0.0/8"),
        (DESTINATION + "filter = 5\n", "+5: filter: must be a table"),
        (TOKEN.replace('["read"]', '"read"'), "+4: scopes: must be a list in [ ]"),
        (TOKEN.replace('["read"]', '["canary"]'), "+4: scopes: item 1 must be one of claim, broker, read, operate, bodies"),
        (TOKEN.replace('name = "t"\n', ""), "+1: name: is missing in this [[token]]"),
        ("[token.x]\n", "+1: x is not known in [[token]]"),
        (DESTINATION + "\n[destination.filter]\nx = 1\n", "+6: filter: must be a table with one of exact, prefix"),
        (DESTINATION + "filter = { exact = { kind = 1 } }\n", "+5: filter: exact: "),
    ],
)
def test_a_wrong_type_is_told_in_plain_words(tmp_path: Path, more: str, problem: str) -> None:
    found = wrong(tmp_path, more=more)
    assert len(found) == 1
    assert found[0].startswith(f"ringhook.toml:{problem}")
    assert not [word for word in JARGON if word in found[0]]


NO_VALUE = "what stands here is no value"
NEITHER = "is neither name = value nor [table]"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("[signin]\n", "+1: is not TOML: [signin] stands here a second time, first in line 3: keep one"),
        ("[[signin]]\n", "+1: is not TOML: [signin] and [[signin]] cannot both stand; the other is in line 3"),
        ("[token]\n", "+1: is not TOML: [token] and [[token]] cannot both stand; the other is in line 13"),
        ('name = "x"\n', "+1: is not TOML: name stands a second time in its table: keep one"),
        ("a = = 1\n", f"+1: is not TOML: {NO_VALUE}"),
        ("a = canary\n", f"+1: is not TOML: {NO_VALUE}"),
        ("a = True\n", f"+1: is not TOML: {NO_VALUE}"),
        ("a = “canary”\n", f"+1: is not TOML: {NO_VALUE}"),
        ("a: 1\n", "+1: is not TOML: there is no = after the name"),
        ("canary\n", "+1: is not TOML: there is no = after the name"),
        ("= 1\n", f"+1: is not TOML: {NEITHER}"),
        ("é = 1\n", f"+1: is not TOML: {NEITHER}"),
        ("a = { b = 1, }\n", f"+1: is not TOML: {NEITHER}"),
        ("a = { b = 1, b = 2 }\n", "+1: is not TOML: the same name stands twice between { and }"),
        ("a = 10s\n", "+1: is not TOML: something follows the value"),
        ('a = "canary" "canary"\n', "+1: is not TOML: something follows the value"),
        ('a = "canary\n', "+1: is not TOML: the quote that ends the text is missing"),
        ("a = 'canary\nb = 'canary'\n", "+1: is not TOML: the quote that ends the text is missing"),
        ('a = "C:\\Users"\n', "+1: is not TOML: a \\ in text"),
        ('a = "C:\\Program"\n', "+1: is not TOML: a \\ in text"),
        ("[[destination]\n", "+1: is not TOML: a bracket is missing"),
        ("a = [1 2]\n", "+1: is not TOML: a list is not closed"),
        ("\na = [1,\n2\n\n", "+2: is not TOML: what begins here is never ended"),
        ('a = """canary\n\n', "+1: is not TOML: what begins here is never ended"),
        ("[destination", "+1: is not TOML: what begins here is never ended"),
    ],
)
def test_what_is_no_toml_is_told_in_plain_words(tmp_path: Path, more: str, problem: str) -> None:
    (found,) = wrong(tmp_path, more=more)
    assert found.startswith(f"ringhook.toml:{problem}")
    assert not [word for word in JARGON if word in found]


@pytest.mark.parametrize(
    "kind", ['kind = "oauth"\n', "kind = 5\n", "", 'kind = "handoff"\n', 'kind = "dev"\npasscode_env = "ALERTS"\n']
)
def test_a_login_page_is_judged_whatever_kind_says(tmp_path: Path, kind: str) -> None:
    found = wrong(tmp_path, signin=f'{kind}login_url = "http://login.example.com"')
    line = kind.count("\n") + 2
    assert (
        f"ringhook.toml:{line}: login_url: must begin with https:// (http:// only on this machine: localhost, 127.0.0.1, [::1])"
        in found
    )
    assert len(found) == (1 if "handoff" in kind or "dev" in kind else 2)


def test_the_passcode_of_a_wrong_kind_is_judged_too(tmp_path: Path) -> None:
    assert wrong(tmp_path, signin='kind = "oauth"\npasscode_env = "NOWHERE"') == [
        "ringhook.toml:2: kind: must be one of handoff, oidc, dev",
        "ringhook.toml:3: passcode_env: the variable named here is neither in the environment nor in .env",
    ]


def test_a_nameless_user_is_told(tmp_path: Path) -> None:
    (found,) = wrong(tmp_path, signin='kind = "dev"\npasscode_env = "ALERTS"\npartner_user = ""')
    assert found.startswith("ringhook.toml:4: partner_user: must be 1 to 256")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('signin = "dev"\n', ["ringhook.toml:1: signin must be a table: [signin] on a line of its own, then name = value"]),
        ('[[signin]]\nkind = "dev"\n', ["ringhook.toml:1: write [signin], with one bracket: there is only one"]),
        ("#\nsignin.kind = 'handoff'\n", ["ringhook.toml:2: login_url: is missing: the page of yours that signs users in"]),
        ("#\nsignin = { kind = 'x' }\n", ["ringhook.toml:2: kind: must be one of handoff, oidc, dev"]),
    ],
)
def test_a_table_in_another_form_keeps_its_line(tmp_path: Path, text: str, problems: list[str]) -> None:
    installed(tmp_path)
    (tmp_path / "ringhook.toml").write_text(text)
    assert told(tmp_path) == problems


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:169.254.169.254]/",
        "https://168.63.129.16/",
        "https://10.0.0.1:8443/ring",
        "https://169。254。169。254/",
        "https://localhost/",
        "https://LocalHost./",
        "https://ring.localhost/",
    ],
)
def test_an_address_that_the_guard_would_refuse_is_refused_by_config_check(tmp_path: Path, url: str) -> None:
    (found,) = wrong(tmp_path, more=DESTINATION.replace("https://alerts.example.com/ring", url))
    assert found.startswith("ringhook.toml:+3: url, allow_networks: leads into a network or this machine")


@pytest.mark.parametrize(
    ("url", "network"),
    [
        ("https://169.254.169.254/", "169.254.0.0/16"),
        ("https://[fe80::1]/", "fe80::/10"),
        ("https://localhost/", "127.0.0.0/8"),
        ("https://localhost/", "::1"),
    ],
)
def test_it_passes_once_its_network_is_named(tmp_path: Path, url: str, network: str) -> None:
    more = DESTINATION.replace("https://alerts.example.com/ring", url)
    assert wrong(tmp_path, more=f'{more}allow_networks = ["{network}"]\n') == []


def test_what_rests_on_a_key_that_is_wrong_itself_is_not_judged(tmp_path: Path) -> None:
    more = DESTINATION.replace("https://alerts.example.com", "http://10.0.0.1")
    found = wrong(tmp_path, more=f'{more}allow_networks = "10.0.0.0/8"\nallow_http = "yes"\n')
    assert [problem.split(":")[1] for problem in found] == ["+5", "+6"]
