"""Topics as they must be: created, mended and checked. What a topic should have is decided by pure functions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import Misconfigured, Rejected
from schemas.topics import DAY, FORGETTING, Topic
from workers.bus.contract import BusUnavailable
from workers.bus.kafka import group
from workers.bus.kafka.absent import Absence
from workers.bus.kafka.batch import BATCH_LIMIT
from workers.bus.kafka.codes import DENIED, INVALID_REPLICATION_FACTOR, NONE, TOPIC_DENIED, TOPIC_EXISTS, Refused
from workers.bus.kafka.eos import Place, alter_configs
from workers.bus.kafka.url import Address, parse
from workers.bus.kafka.wire import PAUSE, Wire

ANSWER: Final = 15.0  # seconds for the controller
SERVED: Final = 60.0  # seconds for the leaders of new partitions: a busy broker makes a few hundred files a second
EVER_MS: Final = int(3650 * DAY / timedelta(milliseconds=1))  # who keeps records for ten years keeps them
TOPIC: Final = 2  # Kafka's number for that kind of resource
LOWEST: Final = (26, 5)  # EndTxn, in the version that came with brokers 4.0
REPLICAS: Final = 3
IN_SYNC: Final = 2
ONE_WILL_DO: Final = "Or RINGHOOK_SINGLE_BROKER=yes says that one broker is enough"
GRANT: Final = (
    "`ringhook topics acls` prints what grants each role its rights; `topics apply` and `topics check` take an administrator"
)
REASSIGN: Final = "`topics apply` cannot add any, kafka-reassign-partitions can"
REMAKE: Final = (
    "`topics apply` cannot change that, since keys would move. While the topic is empty, delete it and `topics apply` makes it "
    "anew; one that holds records can only be followed by a new one (….v2), which takes a new version of ringhook"
)


class Found(msgspec.Struct, frozen=True):
    """A topic as the broker has it."""

    partitions: int
    replicas: int
    configs: Mapping[str, str]


async def apply(url: str, *, namespace: str, topics: Collection[Topic], single_broker: bool = False) -> Sequence[str]:
    """Create what is missing and set what differs; return in words what was done, nothing the second time.

    Partition counts are never changed (keys would move): `check` names them. Misconfigured, before anything is touched, where
    publishing could not work afterwards. BusUnavailable, or Refused with Kafka's error.
    """
    async with _admin(parse(url)) as wire:
        found, names = await _find(wire, namespace, topics), {topic.physical(namespace): topic for topic in topics}
        missing = [topic for name, topic in names.items() if name not in found]
        if not single_broker and (why := obstacle(len(wire.client.cluster.brokers()), found, creating=bool(missing))):
            raise Misconfigured(why)
        done = await _create(wire, namespace, missing, single_broker=single_broker)
        changes = {name: mended(names[name], has, single_broker=single_broker) for name, has in found.items()}
        done += await _alter(wire, {name: change for name, change in changes.items() if change})
        await _settled(wire, namespace, topics, single_broker=single_broker)
        await _led(wire, {topic.physical(namespace): topic.partitions for topic in missing})
        return done


async def check(url: str, *, namespace: str, topics: Collection[Topic], single_broker: bool = False) -> Sequence[str]:
    """Return each difference from what ringhook needs, in words; empty if all is well.

    Where no topic at all is listed it looks again for some seconds: a broker that has just started does not know its own yet.
    BusUnavailable if Kafka is not there. Misconfigured where its user may not look.
    """
    async with _admin(parse(url)) as wire:
        found = await _find_settled(wire, namespace, topics)
        old = [] if await _modern(wire) else ["the brokers are older than Apache Kafka 4.0, which `topics apply` cannot change"]
    named = [(topic.physical(namespace), topic) for topic in topics]
    return old + [
        f"{name}: {difference}"
        for name, topic in named
        for difference in differences(topic, found.get(name), single_broker=single_broker)
    ]


async def retention(address: Address, name: str) -> timedelta | None:
    """Return for how long a topic's records are kept, None for ever. Rejected where our user may not look; Unavailable."""
    async with _asked(address) as wire:
        text = (await _configs(wire, [name]))[name].get("retention.ms", "-1")
    return None if text == "-1" or int(text) > EVER_MS else timedelta(milliseconds=int(text))


async def retain(address: Address, name: str, period: timedelta) -> None:
    """Return once a topic's records are kept for so long, and said to be. Rejected where our user may not say so; Unavailable."""
    async with _asked(address) as wire:
        await _alter(wire, {name: {"retention.ms": _ms(period)}})
        await _told(wire, name, "retention.ms", _ms(period))


def wanted(topic: Topic, *, single_broker: bool) -> dict[str, str]:
    """Return the configuration of a topic. LogAppendTime: a sender's wrong clock must not delete what was acknowledged."""
    configs = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(BATCH_LIMIT),
        "retention.ms": _ms(topic.retention) if topic.retention else "-1",
        "retention.bytes": "-1",
        "segment.ms": _ms((topic.retention or 4 * DAY) / 4),
        "min.insync.replicas": "1" if single_broker else str(IN_SYNC),
        "unclean.leader.election.enable": "false",
    }
    return configs | ({"max.compaction.lag.ms": _ms(FORGETTING)} if topic.compacted else {})


def obstacle(brokers: int, found: Mapping[str, Found], *, creating: bool) -> str | None:
    """Return why topics cannot be made as several brokers should hold them, or None."""
    if creating and brokers < REPLICAS:
        return f"the cluster has {brokers} of the {REPLICAS} brokers that new topics need; nothing was changed. {ONE_WILL_DO}"
    thin = sorted(name for name, topic in found.items() if topic.replicas < IN_SYNC)
    if thin:
        return (
            f"{', '.join(thin)}: {IN_SYNC} replicas must be in sync and there are fewer, so that nothing could be published; "
            f"nothing was changed. Give the topics {REPLICAS} replicas (kafka-reassign-partitions). {ONE_WILL_DO}"
        )
    return None


def mended(topic: Topic, found: Found, *, single_broker: bool) -> dict[str, str]:
    """Return the settings of a topic to change: those with a difference, and no others."""
    target = wanted(topic, single_broker=single_broker)
    return {name: target[name] for name in _wrong(topic, found, single_broker=single_broker)}


def differences(topic: Topic, found: Found | None, *, single_broker: bool) -> list[str]:
    """Return in words what of a topic is not as ringhook needs it."""
    if found is None:
        return ["is missing"]
    words = []
    if found.partitions != topic.partitions:
        words.append(f"has {found.partitions} partitions, {topic.partitions} are needed: {REMAKE}")
    if found.replicas < REPLICAS and not single_broker:
        words.append(f"has {found.replicas} replicas, {REPLICAS} are needed: {REASSIGN}. {ONE_WILL_DO}")
    target = wanted(topic, single_broker=single_broker)
    wrong = _wrong(topic, found, single_broker=single_broker)
    return words + [f"{name} is {found.configs.get(name, 'not known')}, needed is {target[name]}" for name in wrong]


def _wrong(topic: Topic, found: Found, *, single_broker: bool) -> list[str]:
    """More is as good where more is harmless: longer retention, larger messages, more replicas in sync, shorter segments."""
    target = wanted(topic, single_broker=single_broker)
    at_least = {"max.message.bytes", "min.insync.replicas", "retention.ms"}
    at_most = {"segment.ms", "max.compaction.lag.ms"}

    def fits(name: str) -> bool:
        have, need = found.configs.get(name, ""), target[name]
        if name in at_least:
            return _number(have) >= _number(need)
        return _number(have) <= _number(need) if name in at_most else have == need

    return [name for name in target if not fits(name)]


def _number(text: str) -> float:
    return float("inf") if text == "-1" else float(text or "nan")


def _ms(span: timedelta) -> str:
    return str(int(span / timedelta(milliseconds=1)))


async def _find_settled(wire: Wire, namespace: str, topics: Collection[Topic]) -> dict[str, Found]:
    absence = Absence()
    while not (found := await _find(wire, namespace, topics)):
        if absence.settled(await wire.listed(), asyncio.get_running_loop().time()):
            break
        await asyncio.sleep(PAUSE)
    return found


async def _find(wire: Wire, namespace: str, topics: Collection[Topic]) -> dict[str, Found]:
    answer = await wire.ask(wire.anyone(), MetadataRequest([topic.physical(namespace) for topic in topics]))
    for code, topic, *_ in answer.topics:
        if code == TOPIC_DENIED:  # whether it is there is told only to those who may look
            raise Refused(f"Describe of {topic}", code)
    there = {topic: partitions for code, topic, *_, partitions in answer.topics if code == NONE}
    configs = await _configs(wire, list(there))
    return {
        name: Found(len(partitions), min(len(partition[3]) for partition in partitions), configs[name])
        for name, partitions in there.items()
    }


async def _configs(wire: Wire, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    answer = await wire.ask(wire.anyone(), DescribeConfigsRequest([(TOPIC, name, None) for name in names]))
    found = {}
    for code, _, _, name, entries in answer.resources:
        if code != NONE:
            raise Refused(f"DescribeConfigs of {name}", code)
        found[name] = {entry[0]: entry[1] or "" for entry in entries}
    return found


async def _create(wire: Wire, namespace: str, topics: Sequence[Topic], *, single_broker: bool) -> list[str]:
    if not topics:
        return []
    rows: list[Any] = [
        (
            topic.physical(namespace),
            topic.partitions,
            1 if single_broker else REPLICAS,
            [],
            list(wanted(topic, single_broker=single_broker).items()),
        )
        for topic in topics
    ]
    answer = await _created(wire, CreateTopicsRequest(rows, int(ANSWER * 1000), False))  # noqa: FBT003 (validate_only)
    for name, code, *_ in answer.topic_errors:
        if code not in (NONE, TOPIC_EXISTS):
            raise Refused(f"CreateTopics of {name}", code)
    made = {name for name, code, *_ in answer.topic_errors if code == NONE}
    return [f"{row[0]}: created with {row[1]} partitions" for row in rows if row[0] in made]


async def _created(wire: Wire, request: CreateTopicsRequest) -> Any:  # noqa: ANN401 (aiokafka ships no types)
    """Return the answer once no broker is called fenced: one that has just started is, for a moment, though it answers."""
    until = asyncio.get_running_loop().time() + ANSWER
    while True:
        answer = await wire.ask(wire.anyone(), request)
        fenced = any(code == INVALID_REPLICATION_FACTOR for _, code, *_ in answer.topic_errors)
        if not fenced or asyncio.get_running_loop().time() > until:
            return answer
        await asyncio.sleep(PAUSE)


async def _alter(wire: Wire, changes: Mapping[str, Mapping[str, str]]) -> list[str]:
    if not changes:
        return []
    answer = await wire.ask(wire.anyone(), alter_configs(changes))
    for code, _, _, name in answer.responses:
        if code != NONE:
            raise Refused(f"IncrementalAlterConfigs of {name}", code)
    return [f"{name}: {key} set to {value}" for name, change in changes.items() for key, value in change.items()]


async def _settled(wire: Wire, namespace: str, topics: Collection[Topic], *, single_broker: bool) -> None:
    """Return once the brokers tell of it all; the controller answers a little before they do."""
    left = list(topics)
    async with asyncio.timeout(ANSWER):
        while left:
            found = await _find(wire, namespace, left)
            left = [topic for topic in left if _unsettled(topic, found.get(topic.physical(namespace)), single_broker)]
            await asyncio.sleep(PAUSE if left else 0)


async def _told(wire: Wire, name: str, key: str, value: str) -> None:
    """Return once a broker tells of one setting, as `_settled`; BusUnavailable where it does not, or another has set it since."""
    try:
        async with asyncio.timeout(ANSWER):
            told = None
            while told != value:
                told = (await _configs(wire, [name]))[name].get(key)
                await asyncio.sleep(0 if told == value else PAUSE)
    except TimeoutError as error:
        raise BusUnavailable(f"the brokers do not say that {key} of {name} is {value}") from error


async def _led(wire: Wire, made: Mapping[str, int]) -> None:
    """Return once the new partitions' leaders serve them: the controller answers before, and nothing could be published yet."""
    if made:
        await wire.know(made)
        places = [Place(name, index) for name, count in made.items() for index in range(count)]
        await group.offsets(wire, places, group.LATEST, patience=SERVED)


def _unsettled(topic: Topic, found: Found | None, single_broker: bool) -> bool:  # noqa: FBT001 (passed on)
    return found is None or bool(mended(topic, found, single_broker=single_broker))


async def _modern(wire: Wire) -> bool:
    api, version = LOWEST
    return await wire.highest(api) >= version


@contextlib.asynccontextmanager
async def _admin(address: Address) -> AsyncIterator[Wire]:
    wire = Wire(address, patience=ANSWER)
    try:
        await wire.open()
        yield wire
    except Refused as error:
        if error.code not in DENIED:
            raise
        who = f"the user {address.username!r} of RINGHOOK_BUS_URL" if address.username else "us (RINGHOOK_BUS_URL)"
        raise Misconfigured(f"Kafka does not let {who} do what is needed: {error}. {GRANT}") from error
    finally:
        await wire.close()


@contextlib.asynccontextmanager
async def _asked(address: Address) -> AsyncIterator[Wire]:
    """Give connections while it runs: what cannot be asked then ends nothing."""
    try:
        async with _admin(address) as wire:
            yield wire
    except Misconfigured as error:
        raise Rejected(str(error), reason="denied") from error
