"""Rights on a broker that denies by default: the printed commands give each role what it needs, and nothing else."""

import asyncio
import shlex
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Collection, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest_v1, DescribeAclsRequest_v1

from deploy.command.topics import Act
from deploy.local.kafka import Kafka
from schemas.errors import Misconfigured, Rejected
from schemas.topics import (
    DAY,
    DELIVERY_ATTEMPTED,
    EVENT_RECORDED,
    LINK_REQUESTED,
    WEBHOOK_RECEIVED,
    Role,
    Topic,
    declared,
    physical,
)
from tests.conftest import now
from workers.bus import kafka
from workers.bus.contract import BusUnavailable, Lane, Record, Stop
from workers.bus.kafka.acls import COMMITTING, acls
from workers.bus.kafka.eos import Ask
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import Wire

pytestmark = pytest.mark.kafka

NAMESPACE = "ns"
TOPICS = declared(["alerts"])
ROLES: tuple[Role, ...] = ("ingress", "linker", "dispatch", "deliver", "admin")
USERS = ("root", "new-dispatch", *(f"{NAMESPACE}-{role}" for role in (*ROLES, "partner")))
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SETTINGS = {
    "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",  # its listener is called so
    "inter.broker.listener.name": "PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config": " ".join(
        [PLAIN, 'username="root" password="of-root"', *(f'user_{user}="of-{user}"' for user in USERS)]
    )
    + ";",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:root;User:ANONYMOUS",  # the latter is the broker on its own controller's port
    "allow.everyone.if.no.acl.found": "false",
}
# Kafka's numbers: AclOperation, ResourceType, PatternType
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11}
KINDS = {"topic": 2, "group": 3, "transactional_id": 5}
PATTERNS = {"literal": 3, "prefixed": 4}
ANY, ALLOW = 1, 3
Row = tuple[int, str, int, str, str, int, int]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Kafka]:
    """A broker that lets nobody do anything unasked; topics are there, and the printed commands are carried out."""
    broker = Kafka(settings=SETTINGS, java=("-XX:TieredStopAtLevel=1",))
    try:
        now(broker.start())
        now(kafka.apply(url(broker, "root"), namespace=NAMESPACE, topics=TOPICS, single_broker=True))
        now(grant(broker, acls(NAMESPACE, TOPICS)))
        yield broker
    finally:
        now(broker.stop())
        broker.remove()


def url(broker: Kafka, user: str) -> str:
    """As the role is given it in RINGHOOK_BUS_URL."""
    return f"kafka://{user}:of-{user}@{broker.bootstrap}?security_protocol=SASL_PLAINTEXT"


async def check(broker: Kafka, role: Role, topics: Collection[Topic]) -> Collection[str]:
    user = url(broker, f"{NAMESPACE}-{role}")
    return await kafka.check(user, namespace=NAMESPACE, topics=topics, single_broker=True)


async def grant(broker: Kafka, commands: Collection[str]) -> None:
    """Carry out kafka-acls commands (the tool itself takes seconds for each)."""
    wire = Wire(parse(url(broker, "root")), patience=10)
    try:
        await wire.open()
        wanted = [row for command in commands for row in rows(command)]
        answer = await wire.ask(wire.anyone(), Ask(CreateAclsRequest_v1(wanted)))
        assert {code for code, _ in answer.creation_responses} == {0}
        async with asyncio.timeout(10):
            while not await granted(wire) >= {*wanted}:  # noqa: ASYNC110 - the controller has them; the broker follows
                await asyncio.sleep(0.05)
    finally:
        await wire.close()


async def granted(wire: Wire) -> set[Row]:
    everything = DescribeAclsRequest_v1(ANY, None, ANY, None, None, ANY, ANY)
    answer = await wire.ask(wire.anyone(), Ask(everything))
    return {(*resource, *rule) for *resource, rules in answer.resources for rule in rules}


def rows(command: str) -> Iterator[Row]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--operation", action="append", choices=OPERATIONS, required=True)
    parser.add_argument("--resource-pattern-type", choices=PATTERNS, default="literal")
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", *(f"--{kind}" for kind in KINDS)):
        parser.add_argument(name.replace("_", "-"))
    tool, *words = shlex.split(command)
    assert tool == "kafka-acls.sh"
    said = parser.parse_args(words)
    ((kind, name),) = [(kind, getattr(said, kind)) for kind in KINDS if getattr(said, kind)]
    for operation in said.operation:
        pattern = PATTERNS[said.resource_pattern_type]
        yield KINDS[kind], name, pattern, said.allow_principal, "*", OPERATIONS[operation], ALLOW


async def test_a_role_without_rights_is_told_which_and_what_grants_them(guarded: Kafka) -> None:
    whole = {"namespace": "new", "topics": [EVENT_RECORDED], "single_broker": True}
    await kafka.apply(url(guarded, "root"), **whole)

    async def refused(act: Act, words: str) -> None:
        with pytest.raises(
            Misconfigured, match=rf"does not let the user 'new-dispatch' .*{words}.*`ringhook topics acls` prints"
        ):
            await act(url(guarded, "new-dispatch"), **whole)

    await refused(kafka.check, r" Describe of new\.event\.recorded\.v1.*\(29\)")
    mine = [line for line in acls("new", [EVENT_RECORDED]) if "new-dispatch" in line]
    await grant(guarded, [line.replace("--operation DescribeConfigs", "") for line in mine])
    await refused(kafka.check, r" DescribeConfigs of new\.event\.recorded\.v1.*\(29\)")
    await grant(guarded, mine)
    assert await kafka.check(url(guarded, "new-dispatch"), **whole) == []
    more = Topic(name="more", key="k", retention=DAY, writers=("dispatch",), readers=("dispatch",))
    whole["topics"] = [more]
    await refused(kafka.apply, r"take an administrator|Describe of new\.more")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_checks_and_writes_its_topics_and_no_other(guarded: Kafka, role: Role) -> None:
    assert await check(guarded, role, [topic for topic in TOPICS if role in topic.writers + topic.readers]) == []
    user = url(guarded, f"{NAMESPACE}-{role}")
    async with asyncio.timeout(10), kafka.connect(user, namespace=NAMESPACE, topics=TOPICS) as bus:
        await bus.publish([Record(topic=topic.name, key=b"k", value=b"v") for topic in TOPICS if role in topic.writers])
    async with asyncio.timeout(10), AIOKafkaProducer(**parse(user).options()) as producer:
        for topic in TOPICS:
            if role not in topic.writers:
                with pytest.raises(TopicAuthorizationFailedError):
                    await producer.send_and_wait(physical(NAMESPACE, topic.name), b"v")


@pytest.mark.parametrize("role", sorted(COMMITTING))
async def test_a_role_reads_its_topics_and_commits_with_outputs(guarded: Kafka, role: Role) -> None:
    read, written = (next(t.name for t in TOPICS if role in of(t)) for of in (lambda t: t.readers, lambda t: t.writers))
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        await lane.commit(start.next, b"note", [Record(topic=written, key=b"k", value=b"v")])
        stop.set()
        del told

    async with kafka.connect(url(guarded, f"{NAMESPACE}-{role}"), namespace=NAMESPACE, topics=TOPICS) as bus:
        async with asyncio.timeout(30):
            await bus.consume([read], f"{role}.reads", work, stop, atomic=True)


async def test_admin_looks_into_what_operators_ask_for_and_into_nothing_else(guarded: Kafka) -> None:
    theirs = (EVENT_RECORDED, DELIVERY_ATTEMPTED, *(topic for topic in TOPICS if topic.name.endswith(".dead")))
    async with (
        kafka.connect(url(guarded, f"{NAMESPACE}-admin"), namespace=NAMESPACE, topics=TOPICS) as bus,
        bus.browse() as browser,
    ):
        async with asyncio.timeout(30):
            for topic in theirs:
                assert len(await browser.spans(topic.name)) == topic.partitions
                await browser.read(topic.name, 0, 0, 1)
            with pytest.raises(BusUnavailable, match=r"Describe of ns\.link\.requested\.v1.*`ringhook topics acls` prints"):
                await browser.spans(LINK_REQUESTED.name)


@pytest.mark.parametrize(("role", "may"), [("admin", True), ("deliver", False), ("dispatch", False)])
async def test_admin_alone_may_say_how_long_events_are_kept(guarded: Kafka, role: str, *, may: bool) -> None:
    async with (
        kafka.connect(url(guarded, f"{NAMESPACE}-{role}"), namespace=NAMESPACE, topics=TOPICS) as bus,
        asyncio.timeout(30),
    ):
        before = await bus.retention(EVENT_RECORDED.name)
        assert before is not None
        if may:
            for topic in (EVENT_RECORDED, WEBHOOK_RECEIVED):
                await bus.retain(topic.name, before + DAY)
                assert await bus.retention(topic.name) == before + DAY
                await bus.retain(topic.name, before)
        else:
            with pytest.raises(Rejected, match="ringhook topics acls"):
                await bus.retain(EVENT_RECORDED.name, before + DAY)


@pytest.fixture
async def partner(guarded: Kafka, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    options = parse(url(guarded, f"{NAMESPACE}-partner")).options()
    consumer = AIOKafkaConsumer(physical(NAMESPACE, EVENT_RECORDED.name), group_id=group, **options)
    yield consumer
    await consumer.stop()


@pytest.mark.parametrize("group", [f"{NAMESPACE}-partner.alerts"])
async def test_the_partner_reads_events_in_groups_of_its_own(partner: AIOKafkaConsumer) -> None:
    async with asyncio.timeout(10):
        await partner.start()
        await partner.getmany(timeout_ms=1)
        await partner.seek_to_beginning()
        await partner.commit()


@pytest.mark.parametrize("group", [f"{NAMESPACE}.delivery.alerts"])
async def test_the_partner_is_in_no_group_of_a_role(partner: AIOKafkaConsumer) -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await asyncio.wait_for(partner.start(), 10)
