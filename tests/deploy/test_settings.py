import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from deploy import settings
from deploy.settings import names, schema, toml
from deploy.settings.document import Document, load
from deploy.settings.dotenv import parse
from deploy.settings.problems import Problems
from deploy.settings.source import Reader, gather
from deploy.settings.values import base_url, listen, secret, web_address
from schemas.errors import Misconfigured
from tests.deploy.judged import DESTINATION, PORTAL, SECRET, SHARED, TOKEN, installed, wrong
from workers.runtime.signing import generate


class Thing(msgspec.Struct):
    name: str
    size: int = 1


def document(text: str) -> Document:
    return Document(text, "ringhook.toml")


def test_a_dotenv_line_keeps_its_place_and_an_empty_value_is_no_value() -> None:
    problems = Problems()
    found = parse('# A=1\nA=one\nexport B="two words"\nC=\n\nD=""\r\n', ".env", problems)
    problems.end()
    assert {name: (value.text, value.where) for name, value in found.values.items()} == {
        "A": ("one", ".env:2"),
        "B": ("two words", ".env:3"),
    }
    assert found.empty == {"C": ".env:4", "D": ".env:6"}


def test_the_real_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    values = gather({"A": "real", "B": ""}, tmp_path, Problems()).values
    assert (values["A"].text, values["B"].text) == ("real", "file")


def test_a_value_may_stand_in_a_mounted_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    reader = Reader(gather({"KEY_FILE": "key"}, tmp_path, Problems()), tmp_path, Problems())
    assert reader.required("KEY", str, "", hint="a key") == "s3cret"
    reader.problems.end()


def test_everything_wrong_is_told_together_and_secrets_are_not_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY= \nPORT=x:y\nPASTED='canary '\n")
    problems = Problems()
    reader = Reader(gather({"GONE_FILE": "nowhere"}, tmp_path, problems), tmp_path, problems)
    reader.required("KEY", str, "", hint="from the portal")
    reader.optional("PORT", listen)
    reader.optional("PASTED", secret)
    reader.optional("GONE", str)
    with pytest.raises(Misconfigured) as told:
        problems.end()
    message = str(told.value)
    assert message.startswith("The configuration has 4 problems:")
    assert ".env:1: KEY is empty (from the portal)" in message
    assert ".env:2: PORT: is not host:port" in message
    assert ".env:3: PASTED" in message
    assert "environment: GONE_FILE names a file that cannot be read" in message
    assert "canary" not in message


def test_each_problem_of_the_file_has_its_line() -> None:
    problems = Problems()
    text = 'stray = 1\n[[thing]]\nname = "a"\nsize = "big"\n[[thing]]\ncolour = 1\n[wrong]\n'
    given = document(text)
    assert toml.tables(given, "thing", toml.Kind(Thing), problems) == []
    toml.unknown_tables(given, ["thing"], problems)
    assert problems.found == [
        "ringhook.toml:1: stray is not known here; known are thing",
        "ringhook.toml:4: size: must be a whole number, without quotes",
        "ringhook.toml:5: name: is missing in this [[thing]]",
        "ringhook.toml:6: colour is not known in [[thing]]; known are name, size",
        "ringhook.toml:7: wrong is not known here; known are thing",
    ]


def test_good_tables_come_with_their_places() -> None:
    problems = Problems()
    given = document('[[thing]]\nname = "a"\n\n[[thing]]\nname = "b"\nsize = 2\n')
    found = [(thing, entry.where()) for thing, entry in toml.tables(given, "thing", toml.Kind(Thing), problems)]
    assert found == [(Thing("a"), "ringhook.toml:1"), (Thing("b", 2), "ringhook.toml:4")]
    problems.end()


def test_one_bracket_where_two_are_meant_is_said() -> None:
    problems = Problems()
    toml.tables(document('[thing]\nname = "a"\n'), "thing", toml.Kind(Thing), problems)
    assert problems.found == ["ringhook.toml:1: write [[thing]], with two brackets: there may be several"]


@pytest.mark.parametrize("content", ["[", None])
def test_a_file_that_is_no_toml_or_not_there_is_a_problem(tmp_path: Path, content: str | None) -> None:
    path, problems = tmp_path / "ringhook.toml", Problems()
    if content is not None:
        path.write_text(content)
    load(path, path.name, problems)
    assert len(problems.found) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:8080", ("127.0.0.1", 8080)), (":80", ("0.0.0.0", 80)), ("[::1]:9", ("::1", 9))]
)
def test_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    assert listen(text) == expected


def test_the_json_schema_that_ships_is_the_one_the_structs_make() -> None:
    assert schema.FILE.read_text() == schema.text()


def test_what_init_writes_with_a_destination_has_no_problem(tmp_path: Path) -> None:
    assert wrong(tmp_path, more=DESTINATION) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RINGHOOK_TRUSTED_PROXIES=10.0.0.0/99", "a network like 10.0.0.0/8"),
        ("RINGHOOK_RING_API_URL=http://evil.example", "must begin with https://"),
        ("RINGHOOK_RING_OAUTH_URL=https://u:canary@evil.example", "holds a user or password"),
        ("RINGHOOK_BUS_URL=kafka://canary:canary@h:9092?nonsense=1", "parameter that is not known"),
        ("RINGHOOK_BUS_URL=kafka://h:notaport", "host:port"),
        ("RINGHOOK_BUS_URL=kafka://h?security_protocol=SSL&cafile=/nowhere", "certificate file"),
        ("RINGHOOK_BUS_URL=sqlite:///var/bus.db?bytes=-5", "bytes must be at least 67108864, which is 64 MiB"),
        ("RINGHOOK_BUS_URL=sqlite:////", "names no file"),
        ("RINGHOOK_STORE_URL=sqlite:///:memory:", "names no file"),
        ("RINGHOOK_STORE_URL=sqlite://var/store.db", "names no file: sqlite:///var/store.db"),
        ("RINGHOOK_STORE_URL=sqlite://u:canary@h/x.db", "names no file"),
        ("RINGHOOK_STORE_URL=sqlite:///var/", "names no file"),
        ("RINGHOOK_STORE_URL=sqlite:///var/%00x", "names no file"),
        ("RINGHOOK_STORE_URL=postgresql://u:canary@db..example.com/x", "no name of a host"),
        ("RINGHOOK_STORE_URL=postgresql://u:canary@h%00st/x", "no name of a host"),
        ("RINGHOOK_BUS_URL=kafka://k..example.com:9092", "host:port"),
        ("RINGHOOK_PUBLIC_LISTEN=h..x:18490", "no name of a host"),
        ("RINGHOOK_INTERNAL_URL=http://admin..example.com:1", "is not an address"),
        ("RINGHOOK_BUS_URL=sqlite:///var/%00x", "names no file"),
        ("RINGHOOK_BUS_URL=sqlite:///var/", "names no file"),
        ("RINGHOOK_STORE_URL=sqlite:///var/store.db?mode=canary", "SQLite's has none"),
        (f"RINGHOOK_CODE_PUBLIC_KEY=k1:{'A' * 43}=", "nothing can be sealed to the public key k1"),
        ("RINGHOOK_INGRESS_DEADLINE_S=1e-9", "at least 0.1"),
        ("RINGHOOK_PUBLIC_LISTEN=::1:8080", "in brackets: [::1]:8080"),
        ("RINGHOOK_HOMEPAGE_URL=https://*.x", "is not an address"),
        ("RINGHOOK_HOMEPAGE_URL_FILE=/dev/zero", "larger than 1 MiB"),
        ("RINGHOOK_BUS_URL=amqp://h", "sqlite:// or kafka://"),
        ("RINGHOOK_BUS_URL=sqlite://", "names no file"),
        ("RINGHOOK_BUS_URL=kafka://h:9092/x", "behind its hosts"),
        ("RINGHOOK_HOMEPAGE_URL_FILE=a\0b", "no file has such a name"),
        ("RINGHOOK_STORE_URL=postgresql://u:canary@h:99999999/x", "port"),
        ("RINGHOOK_STORE_URL=postgresql://u:canary@h:port/x", "cannot be read"),
        ("RINGHOOK_STORE_URL=mysql://h/x", "neither sqlite"),
        ("RINGHOOK_STORE_URL=sqlite:///var/../var/bus.db", "name one file"),
        ("RINGHOOK_INTERNAL_LISTEN=127.0.0.1:8080", "one address"),
        ("RINGHOOK_INTERNAL_LISTEN=127.0.0.1:²", "is not host:port"),
        ("RINGHOOK_HOMEPAGE_URL=https://", "is not an address"),
        ("RINGHOOK_RING_RATE=canary", "RINGHOOK_RING_RATE: is not a number"),
        ("RINGHOOK_RING_RATE=0", "RINGHOOK_RING_RATE: must be a number of requests a second above 0"),
        ("RINGHOOK_RING_RATE=inf", "RINGHOOK_RING_RATE: must be a number of requests a second above 0"),
        ("RINGHOOK_RING_RATE=100.5", "RINGHOOK_RING_RATE: must be at most 100 requests a second, Ring's own limit"),
        ("RINGHOOK_INGRESS_DEADLINE_S=canary", "is not a number"),
        ("RINGHOOK_WAITING_S=864001", "ten days"),
        ("RINGHOOK_WAITING_S=nan", "between 0"),
        ("RINGHOOK_WAITING_PER_ACCOUNT=0", "a whole number above 0"),
        ("RINGHOOK_WAITING_TOTAL=canary", "a whole number above 0"),
        ("RINGHOOK_RING_HMAC_KEY_NEXT=canary", "without RINGHOOK_RING_CLIENT_ID_NEXT"),
        ("RINGHOOK_RING_CLIENT_ID_NEXT=canary", "without RINGHOOK_RING_HMAC_KEY_NEXT"),
        ("RINGHOOK_RING_CLIENT_ID_NEXT=can ary", "holds a space"),
        ('RINGHOOK_RING_CLIENT_ID_NEXT="can\tary"', "holds a tab"),
        ("RINGHOOK_EXCHANGE_SECRET_NEXT=canary-canary/canary", "a part of a URL's path"),
        ("RINGHOOK_EXCHANGE_SECRET_NEXT=canary", "at least 16"),
        ("RINGHOOK_EXCHANGE_SECRET_NEXT=" + "e" * 20, "are the same"),
        ("RINGHOOK_EXCHANGE_SECRET_NEXT=" + "f" * 20, "without RINGHOOK_RING_HMAC_KEY_NEXT: the second app is known by its key"),
        ('OTHER= "canary', "a quote stands alone"),
        ("OTHER='canary\"", "a quote stands alone"),
        ("OTHER=canary # mine", "comment"),
        ("canary", "is not NAME=value"),
        ("RINGHOOK_RING_RATES=5", "RINGHOOK_RING_RATES is not a name that ringhook knows; did you mean RINGHOOK_RING_RATE?"),
        ("RINGHOOK_HMACKEY_FILE=x", "did you mean RINGHOOK_RING_HMAC_KEY_FILE?"),
        ("RINGHOOK_TOKEN=canary", "RINGHOOK_TOKEN stands here a second time, first in line"),
        ("RINGHOOK_VAULT_KEYS_FILE=x", "RINGHOOK_VAULT_KEYS_FILE is set, and RINGHOOK_VAULT_KEYS too (.env:"),
        ("RINGHOOK_HOMEPAGE_URL_FILE=nowhere", "RINGHOOK_HOMEPAGE_URL_FILE names a file that cannot be read"),
    ],
)
def test_a_line_that_cannot_work_is_told_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    told = wrong(tmp_path, f"{line}\n")
    assert any(problem.startswith(".env:+1: ") and words in problem for problem in told), told


def test_only_a_ring_on_this_machine_may_be_asked_more_often_than_ring_allows(tmp_path: Path) -> None:
    fast, here = "RINGHOOK_RING_RATE=400\n", "http://127.0.0.1:9"
    assert wrong(tmp_path, f"{fast}RINGHOOK_RING_API_URL={here}\nRINGHOOK_RING_OAUTH_URL={here}\n") == []
    assert len(wrong(tmp_path, f"{fast}RINGHOOK_RING_API_URL={here}\n")) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ring.example.com", "must begin with https://"),
        ("https://user:canary@ring.example.com", "holds a user or password"),
        ("https://ring.example.com/path", "without a path"),
        ("https://ring.example.com:99999", "is not an address"),
    ],
)
def test_the_public_url_is_https_and_a_host_alone(tmp_path: Path, url: str, words: str) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / "ringhook.toml").write_text("")
    with pytest.raises(Misconfigured, match=f"environment: RINGHOOK_PUBLIC_URL: .*{words}"):
        settings.read("ingress", {"RINGHOOK_PUBLIC_URL": url}, tmp_path)


@pytest.mark.parametrize("end", ["", "/", "//", "/?", "/#"])
def test_paths_can_be_joined_to_an_address_however_it_ends(end: str) -> None:
    assert base_url(f"HTTPS://ring.example.com:8443{end}") == "https://ring.example.com:8443"


def test_a_second_app_is_whole_or_not_there_but_the_edge_needs_only_its_key(tmp_path: Path) -> None:
    key = "RINGHOOK_RING_HMAC_KEY_NEXT=canary\n"
    assert wrong(tmp_path, SHARED + key, role="ingress") == []
    assert wrong(tmp_path, f"{key}RINGHOOK_RING_CLIENT_ID_NEXT=b\nRINGHOOK_RING_CLIENT_SECRET_NEXT=c\n") == []
    assert [problem.split(" without ")[1].split(":")[0] for problem in wrong(tmp_path, key)] == [
        "RINGHOOK_RING_CLIENT_ID_NEXT",
        "RINGHOOK_RING_CLIENT_SECRET_NEXT",
    ]


def found(directory: Path, keys: Mapping[str, str]) -> Mapping[str, str]:
    """Return the client id of each app, by the app's id; of each one the client is called as the key is."""
    names = ("CLIENT_ID", "CLIENT_SECRET", "HMAC_KEY")
    given = {f"RINGHOOK_RING_{name}{suffix}": key for suffix, key in keys.items() for name in names}
    installed(directory, {**PORTAL, **given})
    vault = settings.read("up", given, directory).vault
    assert vault is not None
    assert vault.hmac_keys.keys() == vault.client_ids.keys() == vault.client_secrets.keys()
    return vault.client_ids


def test_an_app_keeps_its_id_when_its_values_move_to_other_variables(tmp_path: Path) -> None:
    """Ring's key stands for the app: the second one is the same app once its values stand in the first one's variables."""
    both = found(tmp_path, {"": "old", "_NEXT": "new"})
    alone = found(tmp_path, {"": "new"})
    assert len(both) == 2
    assert {app: both[app] for app in alone} == alone


def test_one_key_for_two_apps_is_told(tmp_path: Path) -> None:
    names = ("CLIENT_ID", "CLIENT_SECRET", "HMAC_KEY")
    lines = (f"RINGHOOK_RING_{name}_NEXT={PORTAL['RINGHOOK_RING_HMAC_KEY']}\n" for name in names)
    [told] = wrong(tmp_path, "".join(lines))
    assert "RINGHOOK_RING_HMAC_KEY_NEXT and RINGHOOK_RING_HMAC_KEY are the same" in told


ROLES = ("ingress", "linker", "dispatch", "deliver", "admin")
COMMANDS = ("migrate", "keys", "backup", "restored")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_of_its_own_is_told_that_a_file_has_one_owner_beside_everything_else_that_is_wrong(
    tmp_path: Path, role: str
) -> None:
    (rate, bus) = wrong(tmp_path, "RINGHOOK_BUS_URL=sqlite:///b.db\nRINGHOOK_LOG_LEVEL=loud\n", role=role)[::-1]
    assert bus.startswith(".env:+1: RINGHOOK_BUS_URL: a bus in a file belongs to one process: run `ringhook up`")
    assert rate.startswith(".env:+2: RINGHOOK_LOG_LEVEL")
    (unset,) = wrong(tmp_path, role=role)
    assert unset.startswith("missing: RINGHOOK_BUS_URL: ")


@pytest.mark.parametrize("role", [*ROLES, *COMMANDS, "up"])
def test_a_store_in_a_file_is_refused_beside_a_kafka(tmp_path: Path, role: str) -> None:
    (unset,) = wrong(tmp_path, "RINGHOOK_BUS_URL=kafka://h\n", role=role)
    assert unset.startswith(".env:+1: RINGHOOK_STORE_URL: beside a Kafka")
    (chosen,) = wrong(tmp_path, "RINGHOOK_BUS_URL=kafka://h\nRINGHOOK_STORE_URL=sqlite:///s.db\n", role=role)
    assert chosen.startswith(".env:+2: RINGHOOK_STORE_URL: beside a Kafka")


def test_commands_work_where_up_does_and_topics_need_no_store(tmp_path: Path) -> None:
    assert [wrong(tmp_path, role=command) for command in COMMANDS] == [[]] * len(COMMANDS)
    assert wrong(tmp_path, "RINGHOOK_BUS_URL=kafka://h\n", role="topics") == []


def test_code_keys_that_are_no_pair_are_told(tmp_path: Path) -> None:
    wrong(tmp_path)
    values = {line.partition("=")[0]: line.partition("=")[2] for line in (tmp_path / ".env").read_text().splitlines()}
    wrong(tmp_path)
    with pytest.raises(Misconfigured, match="they are no pair"):
        settings.read("up", {"RINGHOOK_CODE_PUBLIC_KEY": values["RINGHOOK_CODE_PUBLIC_KEY"]}, tmp_path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("canary", "whsec_ and then base64"),
        ("whsec_canary", "at least 24 bytes"),
        ("whsec_canar", "is cut"),
    ],
)
def test_a_secret_that_cannot_sign_is_told_with_destination_variable_and_line(tmp_path: Path, value: str, words: str) -> None:
    (told,) = wrong(tmp_path, f"OTHER={value}\n", DESTINATION.replace("ALERTS", "OTHER"))
    assert told.startswith(".env:+1: OTHER: destination alerts: ")
    assert words in told


@pytest.mark.parametrize(
    ("sign", "value", "words"),
    [
        ("v1a", SECRET, "`ringhook secret --sign v1a` makes a signing key"),
        ("v1", "whsk_" + "A" * 43, 'say sign = "v1a" for it'),
        ("v1a", "canary", "whsk_ and then base64"),
    ],
)
def test_a_secret_of_another_scheme_is_told_with_what_to_do(tmp_path: Path, sign: str, value: str, words: str) -> None:
    (told,) = wrong(tmp_path, f"OTHER={value}\n", DESTINATION.replace("ALERTS", "OTHER") + f'sign = "{sign}"\n')
    assert told.startswith(".env:+1: OTHER: destination alerts: ")
    assert words in told


def test_a_pair_of_keys_and_its_successor_are_no_problem_and_a_scheme_that_is_none_is_the_only_one(tmp_path: Path) -> None:
    keys = f"KEY={generate().reveal()}\nNEXT={generate().reveal()}\n"
    more = DESTINATION.replace("ALERTS", "KEY") + 'secret_env_next = "NEXT"\nsign = "v1a"\n'
    assert wrong(tmp_path, keys, more) == []
    (told,) = wrong(tmp_path, keys, more.replace("v1a", "v2"))
    assert "sign: must be one of v1, v1a" in told


@pytest.mark.parametrize(
    ("more", "line", "words"),
    [
        (TOKEN + TOKEN.replace('"t"', '"u"'), 7, "sha256: is the same in another [[token]] (ringhook.toml:"),
        (TOKEN + TOKEN.replace("a" * 64, "A" * 64).replace('"t"', '"u"'), 7, "sha256: is the same"),
        (TOKEN + TOKEN.replace("a" * 64, "c" * 64), 6, "name: is the same"),
        (TOKEN.replace('["read"]', "[]"), 4, "scopes: name at least one"),
        (TOKEN.replace('["read"]', '["reed", "rite"]'), 4, "item 2 must be one of claim, broker"),
        (TOKEN.replace("a" * 64, "a" * 63), 3, "sha256: is not the SHA-256"),
        (TOKEN.replace("a" * 64, sha256().hexdigest()), 3, "sha256: is that of nothing"),
        (DESTINATION + DESTINATION, 6, "name: is the same in another [[destination]]"),
        (DESTINATION.replace("ALERTS", "whsec_canary"), 4, "secret_env: the variable named here is neither"),
        (DESTINATION.replace("_env", "_file").replace("ALERTS", "canary"), 4, "secret_file: cannot be read: No such file"),
        (DESTINATION + "timeout_s = 25\n", 5, "timeout_s: must be at least 0.1"),
        (DESTINATION + 'filter = "x"\nconcurrency = 0\n', 6, "concurrency: must be between 1"),
        ("[[destination]]\nconcurrency = 0\n", 2, "concurrency: must be between 1"),
        (
            '[[destination]]\nheaders_env = { Authorization = "canary" }\n',
            2,
            "headers_env: the variable named for Authorization is neither",
        ),
        ('[[destination]]\nheaders = { Host = "x" }\n', 2, "headers: Host is not yours to set"),
        ('[[destination]]\nshape = "{id: id"\n', 2, "shape: ends too soon: something is missing after character 7"),
        ('[[destination]]\nbody = "xml"\n', 2, "body: must be one of structured, binary, payload"),
        ('[[route]]\ntopic = "a b"\n', 2, "topic: must be 1 to 249"),
        ('[[route]]\ntopic = "ringhook.event.recorded.v1"\n', 2, "topic: is one of ringhook's own"),
        ('[[route]]\ntopic = "x"\n[[route]]\ntopic = "x"\n', 4, "topic: is the same in another [[route]]"),
        ('[[route]]\ntopic = "x"\nfilter = { exact = { colour = "red" } }\n', 3, "filter: exact: 'colour' is no attribute"),
        ("[[destination]]\nconcurrency = 0\n", 1, "url: is missing in this [[destination]]"),
        ("[[destination]]\nconcurrency = 0\n", 1, "secret_env, secret_file: one is missing"),
        ("a = = 1\n", 1, "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_the_line_of_its_key(tmp_path: Path, more: str, line: int, words: str) -> None:
    told = wrong(tmp_path, more=more)
    assert any(problem.startswith(f"ringhook.toml:+{line}: ") and words in problem for problem in told), told


@pytest.mark.parametrize(
    ("signin", "words"),
    [
        ('kind = "handoff"\nlogin_url = "javascript:alert(1)"', "ringhook.toml:3: login_url: is not an address"),
        ('kind = "handoff"\nlogin_url = "not a url"', "ringhook.toml:3: login_url: is not an address"),
        ('kind = "handoff"\nlogin_url = "https://[::1/ring"', "ringhook.toml:3: login_url: is not an address"),
        ('kind = "handoff"\nlogin_url = "http://login.example.com"', "ringhook.toml:3: login_url: must begin with https://"),
        ('kind = "handoff"', "ringhook.toml:1: login_url: is missing: the page of yours"),
        ('kind = "dev"', "ringhook.toml:1: passcode_env: is missing: name the variable"),
        ('kind = "dev"\npasscode_env = "canary"', "ringhook.toml:3: passcode_env: the variable named here"),
        ('kind = "oauth"', "ringhook.toml:2: kind: must be one of handoff, oidc, dev"),
    ],
)
def test_sign_in_that_cannot_work_is_told(tmp_path: Path, signin: str, words: str) -> None:
    told = wrong(tmp_path, signin=signin)
    assert len(told) == 1
    assert told[0].startswith(words)


@pytest.mark.parametrize("url", ["https://login.example.com/ring?a=b", "http://localhost:8000/login", "http://[::1]/"])
def test_a_login_page_is_https_or_on_this_machine(tmp_path: Path, url: str) -> None:
    assert wrong(tmp_path, signin=f'kind = "handoff"\nlogin_url = "{url}"') == []


def test_problems_come_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    env = "".join(f"nonsense {number}\n" for number in range(12))
    more = '[[destination]]\nname = "A"\nurl = 5\nconcurrency = 0\ncolour = "red"\n[[token]]\nname = 1\n'
    told = [problem.split(": ")[0] for problem in wrong(tmp_path, env, more)]
    assert told == [f".env:+{number}" for number in range(1, 13)] + [f"ringhook.toml:+{n}" for n in (1, 2, 3, 4, 5, 6, 6, 7)]


@pytest.mark.parametrize("file", [".env", "ringhook.toml"])
def test_a_file_that_is_not_utf8_or_cannot_be_read_is_told(tmp_path: Path, file: str) -> None:
    wrong(tmp_path)
    (tmp_path / file).write_bytes(b"canary=\xff\n")
    with pytest.raises(Misconfigured, match=rf"{file}:1: is not UTF-8 text"):
        settings.read("up", {}, tmp_path)
    (tmp_path / file).unlink()
    (tmp_path / file).mkdir()
    with pytest.raises(Misconfigured, match=f"{file}: cannot be read: Is a directory"):
        settings.read("up", {}, tmp_path)


def test_a_mounted_secret_that_is_not_utf8_shows_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xffcanary")
    told = wrong(tmp_path, "RINGHOOK_EXCHANGE_SECRET_NEXT_FILE=key\n")
    assert told == [".env:+1: RINGHOOK_EXCHANGE_SECRET_NEXT_FILE names a file that is not UTF-8 text: save it as UTF-8"]


def test_every_name_that_is_asked_for_is_known() -> None:
    sources = [path.read_text() for path in Path(settings.__file__).parent.glob("*.py")]
    asked = {found.removesuffix("_NEXT") for text in sources for found in re.findall(r'"(RINGHOOK_[A-Z_]+[A-Z])"', text)}
    assert asked
    assert asked <= names.KNOWN


def test_a_broken_destination_is_told_to_every_role(tmp_path: Path) -> None:
    assert len(wrong(tmp_path, SHARED, "[[destination]]\nname = 1\nurl = 1\nsecret_env = 1\n", role="dispatch")) == 3


@pytest.mark.parametrize("role", ["ingress", "dispatch", "admin"])
def test_a_broken_token_is_told_to_every_role(tmp_path: Path, role: str) -> None:
    assert any("scoops is not known" in words for words in wrong(tmp_path, SHARED, "[[token]]\nscoops = 1\n", role=role))


def test_a_delivery_that_outlives_every_session_is_told_beside_a_bus_that_cannot_be_read(tmp_path: Path) -> None:
    said = wrong(tmp_path, "RINGHOOK_BUS_URL=kafka://h?bogus=1\n", DESTINATION + "timeout_s = 100000\n")
    assert any("timeout_s: must be at least 0.1 and less than" in words for words in said)


def test_a_delivery_that_outlives_the_session_of_this_bus_is_told(tmp_path: Path) -> None:
    (told,) = wrong(
        tmp_path,
        "RINGHOOK_STORE_URL=postgresql://h/x\nRINGHOOK_BUS_URL=kafka://h?session_timeout_s=10\n",
        DESTINATION + "timeout_s = 6\n",
    )
    assert told.startswith("ringhook.toml:+5: timeout_s: must be at least 0.1 and less than 5")


@pytest.mark.parametrize(
    ("bus", "role", "too"),
    [
        ("kafka://h?bogus=1", "up", True),
        ("kafka://h:99999", "linker", True),
        ("rabbit://h", "ingress", True),
        ("rabbit://h", "up", False),
    ],
)
def test_a_wrong_bus_url_hides_nothing_of_what_it_asks_of_the_store(tmp_path: Path, bus: str, role: str, *, too: bool) -> None:
    said = wrong(
        tmp_path,
        f"RINGHOOK_BUS_URL={bus}\nRINGHOOK_INTERNAL_LISTEN=nowhere\nRINGHOOK_STRAY=1\n",
        "[stray]\n",
        role=role,
    )
    assert [
        any(name in line for line in said) for name in ("RINGHOOK_BUS_URL: ", "INTERNAL_LISTEN", "RINGHOOK_STRAY", "stray is")
    ] == [True] * 4
    assert any("RINGHOOK_STORE_URL: beside a Kafka" in line for line in said) == too


def test_a_role_is_told_that_its_bus_is_a_file_though_the_url_is_wrong_besides(tmp_path: Path) -> None:
    said = wrong(tmp_path, "RINGHOOK_BUS_URL=sqlite:///bus.db?bytes=many\nRINGHOOK_STORE_URL=mysql://h/x\n", role="dispatch")
    assert [line.partition(": ")[0] for line in said] == [".env:+1", ".env:+1", ".env:+2"]
    assert "belongs to one process" in said[0]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("u@h/x?sslmode=oops", "sslmode in the store's URL is one of disable, allow,"),
        ("u@h/x?connect_timeout=3", "a parameter that is not known; known are sslmode,"),
        ("u@h/x?target_session_attrs=canary", "target_session_attrs in the store's URL is one of any,"),
        ("u@h/x?sslmode", "has no = or comes twice"),
        ("u@h/x?sslrootcert=canary.pem", "the file that sslrootcert in the store's URL names is not there"),
        ("u:canary@/x", "names no host"),
        ("u:canary@h", "names no database"),
        ("u:can@ary@h/x", "@ is %40"),
        ("u:can/ary@h/x", "/ is %2F"),
        ("u:can?ary@h/x", "? is %3F"),
        ("u:can#ary@h/x", "# is %23"),
        ("u:can%ary@h/x", "% is %25"),
        ("u:can[ary@h/x", "[ is %5B"),
        ("u:can:ary@h/x", ": is %3A"),
    ],
)
def test_a_mistake_in_postgresqls_url_is_told_before_anybody_connects(tmp_path: Path, url: str, words: str) -> None:
    (told,) = wrong(tmp_path, f"RINGHOOK_BUS_URL=kafka://h\nRINGHOOK_STORE_URL=postgresql://{url}\n")
    assert told.startswith(".env:+2: RINGHOOK_STORE_URL: ")
    assert words in told


def test_all_mistakes_in_postgresqls_url_are_told_at_once(tmp_path: Path) -> None:
    url = "postgresql://u:canary@:99999?sslmode=oops&canary=1"
    (told,) = wrong(tmp_path, f"RINGHOOK_BUS_URL=kafka://h\nRINGHOOK_STORE_URL={url}\n")
    assert all(words in told for words in ("the port", "no host", "no database", "is not known", "sslmode"))


@pytest.mark.parametrize(
    "url",
    [
        "u:can%40ary%25@h:5433/x?sslmode=verify-full&target_session_attrs=primary",
        "/x?host=/run/postgresql&user=u",
        "u@h?dbname=x&search_path=ring&role=r",
        "u@[::1]:5432/x",
        "?service=ring",
    ],
)
def test_a_sound_url_of_postgresql_passes(tmp_path: Path, url: str) -> None:
    assert wrong(tmp_path, f"RINGHOOK_BUS_URL=kafka://h\nRINGHOOK_STORE_URL=postgresql://{url}\n") == []


def test_an_address_for_browsers_is_written_as_headers_take_it() -> None:
    assert (
        web_address("https://www.example.com/über?x=ä b".replace(" ", "%20")) == "https://www.example.com/%C3%BCber?x=%C3%A4%20b"
    )
