"""The partner's event service: checks each delivery's signature, and remembers what it got."""

import json
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from deploy.demo.partner.verify import verified


@dataclass
class Service:
    """`POST /ring`. `failures`: so many of the next genuine deliveries are answered 503 before any is accepted."""

    secret: str
    failures: int = 0
    events: list[dict[str, object]] = field(default_factory=list)  # accepted, in order of arrival, repeats included
    refused: int = 0  # deliveries with a wrong signature
    failed: int = 0  # deliveries answered 503, as told

    async def ring(self, request: web.Request) -> web.Response:
        """Take one delivery: 401 for a wrong signature, 503 while told to fail, else 204."""
        body = await request.read()
        if not verified(request.headers, body, self.secret):
            self.refused += 1
            return web.Response(status=401)
        if self.failures > 0:
            self.failures -= 1
            self.failed += 1
            return web.Response(status=503)
        self.events.append(json.loads(body))
        return web.Response(status=204)

    async def received(self, _request: web.Request) -> web.Response:
        """Tell what came: ids, repeats, and whether each device's events came in order."""
        return web.json_response(self.report())

    def report(self) -> dict[str, object]:
        """Return what came, as counts and lists; `unordered` are devices whose first copies did not come in order."""
        return {
            "ids": list(dict.fromkeys(self.ids)),
            "repeated": {name: count - 1 for name, count in Counter(self.ids).items() if count > 1},
            "unordered": sorted(device for device, order in self._orders().items() if order != sorted(order)),
            "refused": self.refused,
            "failed": self.failed,
        }

    @property
    def ids(self) -> list[str]:
        """The ids of the accepted events, in order of arrival, repeats included."""
        return [str(event["id"]) for event in self.events]

    def _orders(self) -> dict[str, list[str]]:
        """Return the sequences by device (the account for events without one), in order of arrival, first copies only."""
        orders: dict[str, list[str]] = {}
        seen: set[str] = set()
        for event in self.events:
            if (identity := str(event["id"])) not in seen:
                seen.add(identity)
                orders.setdefault(str(event.get("subject") or event.get("accountid")), []).append(str(event["sequence"]))
        return orders
