"""`python -m deploy.demo.ring --partner http://127.0.0.1:8080 …`: Ring alone, until Ctrl-C, with its page for a browser."""

import argparse
import asyncio
import signal
import sys

from deploy.demo.ring.ring import Partner, running
from deploy.demo.ring.state import Client


async def main(given: argparse.Namespace) -> None:
    """Run until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    base = given.partner.rstrip("/") + "/ring"
    partner = Partner(f"{base}/token-exchange", f"{base}/webhook", f"{base}/account-link")
    client = Client(given.client_id, given.client_secret, given.hmac_key)
    async with running(partner, client, port=given.port, lapse=given.lapse) as ring:
        ring.world.add_account()
        sys.stdout.write(
            f"Ring, simulated: open {ring.url} in a browser\n"
            f"RINGHOOK_RING_API_URL={ring.url}\nRINGHOOK_RING_OAUTH_URL={ring.url}\n"
        )
        sys.stdout.flush()
        await stop.wait()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.ring", description=__doc__)
    parser.add_argument("--partner", default="http://127.0.0.1:8080", help="where the partner's backend listens")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--client-id", default="demo-client")
    parser.add_argument("--client-secret", default="demo-secret")
    parser.add_argument("--hmac-key", default="test-hmac-key")
    parser.add_argument("--lapse", type=float, default=1, help="divide the waits between attempts by this")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
