"""`ringhook send TYPE --destination NAME`: a signed sample event to a service, as deliveries are sent."""

import asyncio
import sys
from pathlib import Path

import click
import orjson

from deploy.command import reaching
from deploy.command.destinations import chosen
from deploy.command.directory import DIRECTORY
from deploy.command.ending import FAILURE
from deploy.command.facts import JSON
from deploy.command.named import DESTINATION
from deploy.samples import TYPES, sample
from workers.deliver.ping import ping


@click.command()
@click.argument("kind", metavar="TYPE", type=click.Choice(TYPES))
@click.option("--destination", required=True, type=DESTINATION, help="To which destination.")
@JSON
@DIRECTORY
def send(kind: str, destination: str, directory: Path, *, as_json: bool) -> None:
    """Send a destination a sample event of TYPE, one of Ring's, from this machine; exit code 1 where it is not accepted.

    It is signed and shaped as deliveries are, and says by its id, account and user (ringhook-sample) that nothing happened.
    Nothing is recorded of it, and the destination's filter is not asked. Needs the configuration of `deliver` (or `up`), and
    nothing that runs.
    """
    (one,) = chosen(directory, destination)
    seen = asyncio.run(ping(one.destination, one.secrets, one.headers, one.tls, sample(kind)))
    click.echo(orjson.dumps(reaching.facts(seen)).decode() if as_json else "\n".join(reaching.lines(seen)))
    sys.exit(0 if reaching.well(seen) and not seen.unshaped else FAILURE)
