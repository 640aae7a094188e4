"""`ringhook demo`: the whole flow on this machine against a simulated Ring; exit code 1 where the table does not add up."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop
from rich.console import Console
from rich.table import Table

from deploy.demo.account import Line, reckon
from deploy.demo.scene import Scene, opened
from deploy.demo.walk import DemoFailed, Walk, recorded
from workers.runtime.stop import on_signals


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, and say where.")
def demo(*, keep: bool) -> None:
    """Link an account and send webhooks of every kind, then count what came out."""
    with tempfile.TemporaryDirectory(prefix="ringhook-demo-") as directory:
        sys.exit(0 if uvloop.run(_run(Path(directory), keep=keep)) else 1)


async def _run(directory: Path, *, keep: bool) -> bool:
    console = Console(highlight=False)
    console.print("Starting a simulated Ring, a sample partner, and `ringhook up` between them …")
    with on_signals() as stop:
        async with opened(directory) as scene:
            going = asyncio.create_task(_walk(scene, console), name="walk")
            ended = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait((going, ended), return_when=asyncio.FIRST_COMPLETED)
            if not going.done():
                going.cancel()
                return False
            right = going.result()
            if keep:
                console.print(addresses(scene), soft_wrap=True)
                await stop.wait()
            return right


async def _walk(scene: Scene, console: Console) -> bool:
    walk = Walk(scene, lambda words: console.print(words, soft_wrap=True, markup=False))
    try:
        await walk.run()
    except DemoFailed as failed:
        console.print(
            f"\nThe demo failed: {failed}\nThe end of ringhook's log:\n{scene.made.roles['up'].process.tail()}", markup=False
        )
        return False
    lines = reckon(walk.sent, await recorded(scene), scene.alerts, scene.archive)
    console.print(table(lines))
    return verdict(lines, console)


def table(lines: Sequence[Line]) -> Table:
    """Return the reckoning as a table."""
    shown = Table(title="What went in, and what came out", title_justify="left")
    for name in ("", "went in", "came out", ""):
        shown.add_column(name, justify="right" if name else "left")
    for line in lines:
        shown.add_row(line.what, str(line.expected), str(line.found), "[green]✓[/]" if line.right else f"[red]✗ {line.wrong}[/]")
    return shown


def verdict(lines: Sequence[Line], console: Console) -> bool:
    """Say whether everything adds up."""
    right = all(line.right for line in lines)
    console.print("[green]Nothing is missing, nothing is doubled.[/]" if right else "[red]This does not add up.[/]")
    return right


def addresses(scene: Scene) -> str:
    """Return where everything is, for a browser and a terminal."""
    return (
        f"\nStill running until Ctrl-C:\n"
        f"  the simulated Ring app   {scene.ring.url}\n"
        f"  ringhook, public         {scene.made.public}\n"
        f"  ringhook, internal       {scene.made.internal}   (metrics, probes, /v1 with the token {scene.token})\n"
        f"  the partner's login      {scene.login}/login (user ada, password demo-password; Ring sends browsers there)\n"
    )
