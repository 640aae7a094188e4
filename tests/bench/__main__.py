"""`python -m tests.bench [--rounds 3] [--only ingress,…] [--write]`: ratios beside honest baselines, on this machine."""

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import psutil

from deploy.local import packages
from deploy.local.__main__ import prepare
from tests.bench import figures, ground, results
from tests.bench.figures import Figure
from tests.bench.ground import HERE, Ground
from tests.bench.needs import WRK
from tests.bench.rows import (
    backlog,
    batched,
    dead,
    deliver,
    dispatch,
    failing,
    ingress,
    latency,
    links,
    matching,
    memory,
    pipeline,
    renewals,
    restart,
)

Row = Callable[[Ground, int], Awaitable[list[Figure]]]
ROWS: Final[dict[str, Row]] = {
    "ingress": ingress.measure,
    "dispatch": dispatch.measure,
    "deliver": deliver.measure,
    "batched": batched.measure,
    "backlog": backlog.measure,
    "dead": dead.measure,
    "failing": failing.measure,
    "pipeline": pipeline.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "matching": matching.measure,
    "restart": restart.measure,
    "links": links.measure,
    "renewals": renewals.measure,
}
LONGEST_S: Final = 240.0  # for one row; a row that takes longer is told as failed


def main(arguments: list[str]) -> int:
    """Measure what is asked; return 1 where something could not be measured, whatever the figures are."""
    asked = _asked(arguments)
    prepare()
    packages.ensure(say, (WRK,))
    found, failed = asyncio.run(measured(asked.only, asked.rounds))
    say("\n" + figures.text(found))
    for name, why in failed.items():
        say(f"NOT MEASURED: {name}: {why}")
    if asked.write:
        (HERE / "RESULTS.md").write_text(results.page(found, failed, asked.rounds, machine()))
    return 1 if failed else 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda words: words.split(","), default=[*ROWS])
    parser.add_argument("--write", action="store_true", help="write tests/bench/RESULTS.md")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.only) - ROWS.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return asked


async def measured(names: list[str], rounds: int) -> tuple[list[Figure], dict[str, str]]:
    """Return what each row gave, and why a row gave nothing."""
    found, failed = list[Figure](), dict[str, str]()
    async with ground.standing() as on:
        for name in names:
            began = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST_S):
                    found += await ROWS[name](on, rounds)
            except Exception as error:  # noqa: BLE001 - one row that fails takes no other with it
                failed[name] = f"{type(error).__name__}: {error}"
            say(f"{name}: {failed.get(name, 'measured')} ({time.monotonic() - began:.0f} s)")
    return found, failed


def machine() -> str:
    """Name the day and the machine, by cores and memory only."""
    memory_gib = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores and {memory_gib:.0f} GiB of memory, {system}"


def say(words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
