"""The commands as an operator meets them: what they write, say and refuse."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy import migrations
from deploy.command.ending import reason
from deploy.demo.installation import Installation
from deploy.local import postgres
from deploy.rights import user
from schemas.errors import Misconfigured, Unavailable
from schemas.topics import EVENT_RECORDED
from tests.chaos.generator import body, signature
from tests.chaos.world import Sink, installation, until
from workers.bus import kafka
from workers.bus.contract import BusBroken
from workers.runtime.database import connect
from workers.runtime.supervise import Fatal

PORTAL = {
    "RINGHOOK_RING_CLIENT_ID": "client",
    "RINGHOOK_RING_CLIENT_SECRET": "client-secret",
    "RINGHOOK_RING_HMAC_KEY": "canary-hmac-key",
    "RINGHOOK_PUBLIC_URL": "https://ring.example.com",
}


async def ringhook(*words: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and everything it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", *words),
        cwd=cwd,
        env={"PATH": os.defpath, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


@pytest.fixture
async def sink() -> Sink:
    made = Sink()
    made.url = "http://127.0.0.1:9/"
    return made


@pytest.fixture
def at_kafka(tmp_path: Path, sink: Sink, kafka_url: str, namespace: str) -> dict[str, Any]:
    """Where a command runs, and its environment: a broker that has none of its topics yet."""
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_NAMESPACE": namespace, "RINGHOOK_SINGLE_BROKER": "yes"}
    return {"cwd": tmp_path, **installation(tmp_path, sink, **more).environment}


async def test_what_init_writes_is_complete_but_for_the_portals_values(tmp_path: Path) -> None:
    code, said = await ringhook("init", str(tmp_path / "ring"), cwd=tmp_path, **PORTAL)
    assert code == 0
    assert "https://ring.example.com/ring/token-exchange/" in said
    assert 'own "Log in with Ring" button only allowlists a tester' in said
    assert "canary" not in said
    secrets = tmp_path / "ring" / ".env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert await ringhook("config", "check", cwd=tmp_path / "ring") == (
        0,
        "The configuration of up is complete. Destinations: none.\n",
    )


async def test_init_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("mine\n")
    code, said = await ringhook("init", cwd=tmp_path)
    assert code == 2
    assert "nothing was written" in said
    assert (tmp_path / ".env").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("folder", "before", "words"),
    [
        ("/proc/ring", "", "/proc/ring cannot be written: No such file or directory"),
        ("/dev/null/ring", "", "cannot be written: Not a directory"),
        ("ring", "ulimit -f 0;", "ring cannot be written: File too large"),  # as a full disk: it fails when bytes are written
    ],
)
async def test_a_folder_that_takes_nothing_is_a_sentence_and_keeps_nothing(
    tmp_path: Path, folder: str, before: str, words: str
) -> None:
    command = ("sh", "-c", f"{before} exec {sys.executable} -m deploy.command init {folder}")
    env = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}  # which a full disk would cut short
    where: dict[str, Any] = {"cwd": tmp_path, "env": env}
    process = await asyncio.create_subprocess_exec(*command, **where, stdout=PIPE, stderr=STDOUT)
    said = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert (process.returncode, words in said, len(said.splitlines())) == (2, True, 1), said
    assert not (tmp_path / "ring" / ".env").exists()


async def test_init_takes_a_public_url_as_config_check_does(tmp_path: Path) -> None:
    code, said = await ringhook("init", "a", cwd=tmp_path, **PORTAL | {"RINGHOOK_PUBLIC_URL": "https://r.example.com/"})
    assert (code, "https://r.example.com/ring/token-exchange/" in said, "com//" in said) == (0, True, False)
    assert "\nRINGHOOK_PUBLIC_URL=https://r.example.com\n" in (tmp_path / "a/.env").read_text()
    code, said = await ringhook("init", "b", cwd=tmp_path, **PORTAL | {"RINGHOOK_PUBLIC_URL": "ftp://x"})
    assert (code, "RINGHOOK_PUBLIC_URL: is not an address like https://" in said, "ftp" in said) == (2, True, False)
    assert not (tmp_path / "b").exists()


async def test_everything_wrong_with_a_configuration_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    await ringhook("init", cwd=tmp_path)
    (tmp_path / "ringhook.toml").write_text(
        '[signin]\nkind = "oauth"\n\n[[destination]]\nname = "Bad Name"\nurl = "http://127.0.0.1/"\ncolour = "red"\n'
    )
    code, said = await ringhook("up", cwd=tmp_path, RINGHOOK_INGRESS_DEADLINE_S="4", RINGHOOK_RING_HMAC_KEY="canary \n")
    assert code == 2
    for expected in (
        ".env:5: RINGHOOK_RING_CLIENT_ID is empty",
        ".env:11: RINGHOOK_PUBLIC_URL is empty",
        "ringhook.toml:2: kind",
        "ringhook.toml:7: colour is not known",
        "RINGHOOK_INGRESS_DEADLINE_S: the ingress deadline must be above 0 and under 4 s",
        "RINGHOOK_RING_HMAC_KEY: has white space",
    ):
        assert expected in said
    assert "canary" not in said
    assert "Traceback" not in said


async def test_a_second_up_on_the_same_files_is_refused_with_the_first_ones_pid(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    async with made.running("up"):
        code, said = await ringhook("up", "-C", str(tmp_path), cwd=tmp_path, **made.environment, RINGHOOK_INTERNAL_LISTEN=":0")
        assert code == 2
        assert str(made.roles["up"].process.pid) in said
        assert "Traceback" not in said


async def test_a_role_on_sqlite_says_what_to_run_instead(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    code, said = await ringhook("dispatch", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, "run `ringhook up`" in said) == (2, True)


@pytest.mark.parametrize("command", [("up",), ("config", "check", "linker"), ("migrate",), ("keys", "status")])
async def test_a_kafka_that_others_may_read_too_needs_a_store_that_they_share(
    tmp_path: Path, sink: Sink, command: tuple[str, ...]
) -> None:
    made = installation(tmp_path, sink, RINGHOOK_BUS_URL=f"kafka://{AWAY}")
    code, said = await ringhook(*command, "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, "RINGHOOK_STORE_URL: beside a Kafka" in said, len(said.splitlines())) == (2, True, 2), said


@pytest.mark.kafka
@pytest.mark.postgres
async def test_a_role_names_the_command_that_mends_what_it_misses(
    tmp_path: Path, sink: Sink, kafka_url: str, postgres_url: str, namespace: str
) -> None:
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
    made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
    at = {"cwd": tmp_path, **made.environment}

    async def said(*words: str) -> tuple[int, str]:
        return await ringhook(*words, "-C", str(tmp_path), **at)  # type: ignore[arg-type] # cwd is the path among them

    code, words = await said("dispatch")
    assert (code, "the store has no tables yet: run `ringhook migrate`" in words) == (2, True)
    assert (await said("migrate"))[0] == 0
    code, words = await said("dispatch")
    assert (code, "ringhook topics apply" in words, f"{namespace}.webhook.received.v1" in words) == (2, True, True)
    assert (await said("topics", "check"))[0] == 1
    code, words = await said("topics", "apply")
    assert (code, f"{namespace}.event.recorded.v1" in words) == (0, True)
    assert await said("topics", "apply") == (0, "Every topic is there and as it must be: nothing was done.\n")
    assert (await said("topics", "check"))[0] == 0
    code, words = await said("topics", "acls")
    assert (code, f"--topic '{namespace}.webhook.received.v1'" in words) == (0, True)
    at["RINGHOOK_SINGLE_BROKER"] = "no"
    code, words = await said("topics", "apply")
    assert (code, "nothing was changed" in words, "RINGHOOK_SINGLE_BROKER=yes" in words) == (2, True, True)
    at |= {"RINGHOOK_NAMESPACE": "another", "RINGHOOK_SINGLE_BROKER": "yes"}
    for command in ("dispatch", "migrate"):
        code, words = await said(command)
        assert (code, f"belongs to namespace '{namespace}'" in words) == (2, True)


@pytest.mark.kafka
async def test_apply_says_what_it_cannot_mend_and_never_that_all_is_well_then(
    at_kafka: dict[str, Any], kafka_url: str, namespace: str
) -> None:
    narrow = msgspec.structs.replace(EVENT_RECORDED, partitions=3)
    await kafka.apply(kafka_url, namespace=namespace, topics=[narrow], single_broker=True)
    name = f"{namespace}.event.recorded.v1"
    for created in (True, False):
        code, said = await ringhook("topics", "apply", **at_kafka)
        *done, head, left = said.splitlines()
        assert (code, bool(done), head) == (1, created, "What cannot be mended from here:")
        assert left.startswith(f"{name}: has 3 partitions, 12 are needed: `topics apply` cannot change that")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url.removeprefix("kafka://"))
    await admin.start()
    await admin.delete_topics([name])
    await admin.close()
    code, said = await ringhook("topics", "apply", **at_kafka)
    assert (code, said) == (0, f"{name}: created with 12 partitions\n")


AWAY = "127.0.0.1:9"


@pytest.mark.postgres
@pytest.mark.parametrize("command", ["migrate", "dispatch", "up"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"netloc": "nobody:canary@{host}"}, "refuses the user or password of RINGHOOK_STORE_URL"),
        ({"path": "/nowhere"}, "has no database of the name in RINGHOOK_STORE_URL"),
    ],
)
async def test_a_store_that_refuses_us_is_a_sentence(
    tmp_path: Path, sink: Sink, postgres_url: str, *, command: str, change: dict[str, str], words: str
) -> None:
    parts = urlsplit(postgres_url)
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit(parts._replace(**{key: value.format(host=host) for key, value in change.items()}))
    made = installation(tmp_path, sink, RINGHOOK_STORE_URL=url, RINGHOOK_BUS_URL=f"kafka://{AWAY}")
    code, said = await ringhook(command, "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, words in said, "Traceback" in said, "canary" in said) == (2, True, False, False), said


async def test_a_second_up_beside_the_same_store_is_refused_whatever_its_bus(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    async with made.running("up"):
        elsewhere = {**made.environment, "RINGHOOK_BUS_URL": f"sqlite:///{tmp_path}/bus2.db", "RINGHOOK_INTERNAL_LISTEN": ":0"}
        code, said = await ringhook("up", "-C", str(tmp_path), cwd=tmp_path, **elsewhere)
        assert code == 2
        assert f"store.db is in use by process {made.roles['up'].process.pid}" in said
        assert "RINGHOOK_STORE_URL names the file" in said
        for command in (("keys", "status"), ("backup", str(tmp_path / "copy")), ("migrate",)):
            assert (await ringhook(*command, "-C", str(tmp_path), cwd=tmp_path, **made.environment))[0] == 0


async def test_a_store_that_is_a_folder_is_told_in_one_line(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    (tmp_path / "store.db").mkdir()
    code, said = await ringhook("up", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert "store.db cannot be made or opened: Is a directory" in said


@pytest.mark.postgres
async def test_a_role_whose_user_lacks_a_right_names_it_and_does_not_start(
    tmp_path: Path, sink: Sink, postgres_url: str, namespace: str
) -> None:
    more = {"RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_BUS_URL": f"kafka://{AWAY}", "RINGHOOK_NAMESPACE": namespace}
    made = installation(tmp_path, sink, **more)
    assert (await ringhook("migrate", "-C", str(tmp_path), cwd=tmp_path, **made.environment))[0] == 0
    code, said = await ringhook("grants", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    await postgres.command(postgres_url, said)
    made.environment["RINGHOOK_STORE_URL"] = await postgres.let_in(postgres_url, user(namespace, "ingress"))
    code, said = await ringhook("dispatch", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert "what dispatch needs (SELECT on lane; " in said
    assert "run what `ringhook grants` prints, and let dispatch log in as " in said
    await postgres.command(postgres_url, f'revoke all on table alembic_version from "{user(namespace, "ingress")}"')
    for command in ("deliver", "migrate"):
        code, said = await ringhook(command, "-C", str(tmp_path), cwd=tmp_path, **made.environment)
        assert (code, "what `ringhook grants` prints" in said, len(said.splitlines())) == (2, True, 1), said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("migrate",), "RINGHOOK_STORE_URL"),
        (("topics", "apply"), f"no broker in RINGHOOK_BUS_URL answers: {AWAY}: the connection was refused"),
        (("topics", "check"), f"no broker in RINGHOOK_BUS_URL answers: {AWAY}: the connection was refused"),
    ],
)
async def test_a_command_whose_server_is_away_says_so(tmp_path: Path, sink: Sink, command: tuple[str, ...], words: str) -> None:
    kafka = f"kafka://u:canary@{AWAY}?security_protocol=SASL_PLAINTEXT"
    away = {"RINGHOOK_STORE_URL": f"postgresql://u:canary@{AWAY}/x", "RINGHOOK_BUS_URL": kafka}
    made = installation(tmp_path, sink, **away)
    code, said = await ringhook(*command, "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, words in said, "Traceback" in said, "canary" in said) == (2, True, False, False), said
    assert len(said.splitlines()) == 1, said


async def test_a_role_whose_servers_are_away_waits_for_them(tmp_path: Path, sink: Sink) -> None:
    kafka = f"kafka://u:canary@{AWAY}?security_protocol=SASL_PLAINTEXT"
    away = {"RINGHOOK_STORE_URL": f"postgresql://u:canary@{AWAY}/x", "RINGHOOK_BUS_URL": kafka}
    made = installation(tmp_path, sink, **away)
    role = made.add("dispatch")
    role.process.launch((sys.executable, "-m", "deploy.command", "dispatch", "-C", str(tmp_path)), made.environment)
    assert await until(lambda: "start.delayed" in role.log(), 30), role.log()
    await role.stop()
    assert role.process.code == 0
    assert "canary" not in role.log()
    role.process.remove()


@pytest.mark.parametrize("name", ["RINGHOOK_PUBLIC_LISTEN", "RINGHOOK_INTERNAL_LISTEN"])
async def test_an_address_in_use_is_a_sentence_and_nothing_says_that_it_is_up(tmp_path: Path, sink: Sink, name: str) -> None:
    made = installation(tmp_path, sink, RINGHOOK_INTERNAL_LISTEN=":0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made.environment[name] = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = await ringhook("up", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, f"{name} chooses another" in said, "Traceback" in said) == (2, True, False), said
    assert name != "RINGHOOK_PUBLIC_LISTEN" or "ringhook is up" not in said


@pytest.mark.parametrize("file", ["store.db", "bus.db"])
async def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, sink: Sink, file: str) -> None:
    made = installation(tmp_path, sink)
    (tmp_path / file).write_bytes(b"nonsense" * 1024)
    code, said = await ringhook("up", "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, "process.ended" in said, "not a database" in said, "Traceback" in said) == (1, True, True, False), said
    assert (str(tmp_path / file) in said, "restore it from a backup" in said) == (True, True), said
    assert len(said.splitlines()) < 4, said


@pytest.mark.parametrize("command", ["up", "migrate"])
async def test_a_store_of_a_newer_version_is_a_sentence(tmp_path: Path, sink: Sink, command: str) -> None:
    made = installation(tmp_path, sink)
    await migrations.upgrade(url := made.environment["RINGHOOK_STORE_URL"])
    async with connect(url) as database, database.begin() as connection:
        await connection.exec_driver_sql("update alembic_version set version_num = '9001'")
    code, said = await ringhook(command, "-C", str(tmp_path), cwd=tmp_path, **made.environment)
    assert (code, said.count("belongs to another (newer) version"), len(said.splitlines())) == (2, 1, 1), said


async def test_a_role_on_one_machines_file_is_told_by_config_check(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    at = {"cwd": tmp_path, **made.environment}
    code, said = await ringhook("config", "check", "dispatch", "-C", str(tmp_path), **at)  # type: ignore[arg-type]
    assert (code, "run `ringhook up`" in said) == (2, True)


@pytest.mark.kafka
async def test_topics_tells_programs_what_differs_and_what_was_done(at_kafka: dict[str, Any], namespace: str) -> None:
    async def said(word: str) -> tuple[int, Any]:
        code, words = await ringhook("topics", word, "--json", **at_kafka)
        return code, json.loads(words)

    code, found = await said("check")
    assert (code, f"{namespace}.event.recorded.v1" in " ".join(found["differences"])) == (1, True)
    code, found = await said("apply")
    assert (code, bool(found["done"]), found["differences"]) == (0, True, [])
    assert await said("check") == (0, {"differences": []})


def test_an_output_that_cannot_be_written_is_one_sentence() -> None:
    command = (sys.executable, "-m", "deploy.command", "config", "schema")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"The output cannot be written: No space left on device\n")


async def test_config_check_tells_programs_each_problem_with_its_place(tmp_path: Path) -> None:
    code, said = await ringhook("config", "check", "--json", cwd=tmp_path)
    assert (code, json.loads(said)["problems"][0]["place"]) == (2, None)
    await ringhook("init", cwd=tmp_path, **PORTAL)
    assert await ringhook("config", "check", "--json", cwd=tmp_path) == (
        0,
        '{"role": "up", "complete": true, "destinations": [], "problems": []}\n',
    )
    (tmp_path / ".env").write_text("RINGHOOK_STRAY=1\n" + (tmp_path / ".env").read_text())
    code, said = await ringhook("config", "check", "--json", cwd=tmp_path, RINGHOOK_RING_RATE="no")
    found = json.loads(said)
    assert (code, found["complete"]) == (2, False)
    assert [(each["place"], each["line"]) for each in found["problems"]] == [(".env", 1), ("environment", None)]


async def test_config_check_asks_of_a_roles_host_only_what_the_role_needs(tmp_path: Path) -> None:
    engines = {"RINGHOOK_BUS_URL": "kafka://h", "RINGHOOK_STORE_URL": "postgresql://u@h/x"}
    await ringhook("init", cwd=tmp_path, **PORTAL)
    lines = (tmp_path / ".env").read_text().splitlines()
    kept = ("RINGHOOK_RING_HMAC_KEY", "RINGHOOK_PUBLIC_URL", "RINGHOOK_COOKIE_KEYS", "RINGHOOK_CODE_PUBLIC_KEY", "RINGHOOK_DEV")
    (tmp_path / ".env").write_text("\n".join(line for line in lines if line.startswith(kept)))
    assert await ringhook("config", "check", "ingress", cwd=tmp_path, **engines) == (
        0,
        "The configuration of ingress is complete. Destinations: none.\n",
    )
    code, said = await ringhook("config", "check", cwd=tmp_path, **engines)
    assert (code, "RINGHOOK_VAULT_KEYS" in said) == (2, True)


async def test_up_says_so_once_it_is(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    async with made.running("up"):
        role = made.roles["up"]
        assert await until(lambda: f"ringhook is up: Ring and browsers at {made.public[7:]}" in role.log(), 10), role.log()


@pytest.mark.parametrize(
    ("error", "explains"),
    [
        (ExceptionGroup("a", [ValueError("x"), ExceptionGroup("b", [BusBroken("disk")])]), "disk"),
        (ExceptionGroup("a", [Fatal("disk"), Misconfigured("words")]), "words"),
        (ExceptionGroup("a", [ValueError("x"), Unavailable("away")]), "away"),
        (ExceptionGroup("a", [ValueError("x"), KeyError("y")]), "x"),
    ],
)
def test_the_reason_of_an_end_is_what_an_operator_can_use(error: Exception, explains: str) -> None:
    assert str(reason(error)) == explains


async def test_sigterm_finishes_what_is_in_flight_and_exits_0(tmp_path: Path) -> None:
    async with Sink().open() as sink:
        made = installation(tmp_path, sink)
        async with made.running("up"), aiohttp.ClientSession() as client:
            role = made.roles["up"]
            posting = [asyncio.create_task(post(client, made, number)) for number in range(200)]
            await asyncio.wait(posting, return_when=asyncio.FIRST_COMPLETED)
            await role.stop()
            statuses = await asyncio.gather(*posting)
            assert role.process.code == 0, role.log()
            assert "Traceback" not in role.log()
    assert set(statuses) <= {200, 503, None}  # None: it came after the door was closed
    assert 200 in statuses


async def post(client: aiohttp.ClientSession, made: Installation, number: int) -> int | None:
    raw = body(f"term-{number}", "account", "device", 1_800_000_000 + number)
    try:
        async with client.post(f"{made.public}/ring/webhook", data=raw, headers={"X-Signature": signature(raw)}) as answer:
            return answer.status
    except aiohttp.ClientError:
        return None


async def test_every_figure_that_operators_watch_is_there(tmp_path: Path, sink: Sink) -> None:
    made = installation(tmp_path, sink)
    async with made.running("up"), aiohttp.ClientSession() as client, client.get(f"{made.internal}/metrics") as answer:
        text = await answer.text()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP ringhook_")}
    assert {
        "ringhook_requests_total",
        "ringhook_bus_publish_seconds",
        "ringhook_requests_in_flight",
        "ringhook_webhook_verify_failures_total",
        "ringhook_events_total",
        "ringhook_lag_records",
        "ringhook_oldest_unprocessed_seconds",
        "ringhook_link_steps_total",
        "ringhook_link_deadline_margin_seconds",
        "ringhook_delivery_attempts_total",
        "ringhook_delivery_oldest_undelivered_age_seconds",
        "ringhook_delivery_dead_letters_total",
        "ringhook_buried_total",
        "ringhook_worker_restarts_total",
    } <= names, sorted(names)
