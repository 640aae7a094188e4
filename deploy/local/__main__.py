"""`python -m deploy.local prepare` makes the machine ready for the tests; `… up` runs Kafka and PostgreSQL until Ctrl-C."""

import asyncio
import contextlib
import signal
import sys
import time

from deploy.local import jars, kafka, packages, postgres
from deploy.local.process import StartFailed


def main(arguments: list[str]) -> int:
    """Do what is asked; return the exit code: 1 where the machine cannot, 2 for a wrong word."""
    if arguments not in (["prepare"], ["up"]):
        say(__doc__ or "")
        return 2
    try:
        prepare()
        if arguments == ["up"]:
            asyncio.run(up())
    except (packages.Missing, jars.Untrusted, jars.NoList, StartFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def prepare() -> None:
    """Return once Java, Maven, PostgreSQL and the verified jars are there; say in a line what was done."""
    began = time.monotonic()
    packages.ensure(say)
    try:
        jars.verify()
    except jars.Untrusted:
        _bring()
    say(f"Java, PostgreSQL and {len(jars.hashed(jars.JARS))} verified Kafka jars are here ({time.monotonic() - began:.1f} s)")


def _bring() -> None:
    say("Maven copies the Kafka jars to build/kafka (once)")
    if (maven := packages.maven()) is None:
        raise packages.Missing("Apache Maven is not on this machine.")
    jars.bring(maven)


async def up() -> None:
    """Run both until Ctrl-C or SIGTERM, and print their URLs."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as servers:
        broker = await servers.enter_async_context(kafka.running())
        store = await servers.enter_async_context(postgres.running())
        say(f"RINGHOOK_BUS_URL={broker.url}\nRINGHOOK_STORE_URL={await store.create_database('ringhook')}")
        say("Ctrl-C stops both and removes what they hold")
        await stop.wait()


def say(words: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
