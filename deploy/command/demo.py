"""`ringhook demo`: the whole flow on this machine against a simulated Ring; exit code 1 where the table does not add up."""

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
from deploy.demo.watch import alive, arrivals
from deploy.local.process import StartFailed
from workers.bus.contract import Stop
from workers.runtime.stop import on_signals


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, and say where.")
def demo(*, keep: bool) -> None:
    """Link an account and send webhooks of every kind, then count what came out."""
    console = Console(highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="ringhook-demo-") as directory:
            right = uvloop.run(_run(Path(directory), console, keep=keep))
    except (DemoFailed, StartFailed, OSError) as failed:
        console.print(f"\nThe demo failed: {failed}", markup=False, soft_wrap=True)
        right = False
    sys.exit(0 if right else 1)


async def _run(directory: Path, console: Console, *, keep: bool) -> bool:
    console.print("Starting a simulated Ring, a sample partner, and `ringhook up` between them …")
    with on_signals() as ending:
        async with opened(directory) as scene:
            try:
                return await _played(scene, console, ending.stop, keep=keep)
            except DemoFailed as failed:
                log = scene.made.roles["up"].process.tail()
                raise DemoFailed(f"{failed}\nThe end of ringhook's log:\n{log}") from failed


async def _played(scene: Scene, console: Console, stop: Stop, *, keep: bool) -> bool:
    ringhook = scene.made.roles["up"].process
    right = await alive(ringhook, _walk(scene, console), stop) or False
    if keep and not stop.is_set():
        console.print(addresses(scene), soft_wrap=True)
        services = {"alerts": scene.alerts, "archive": scene.archive}
        await alive(ringhook, arrivals(services, lambda words: console.print(words, soft_wrap=True, markup=False)), stop)
    return right


async def _walk(scene: Scene, console: Console) -> bool:
    walk = Walk(scene, lambda words: console.print(words, soft_wrap=True, markup=False))
    await walk.run()
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
        f"What the partner's services get is told here.\n"
    )
