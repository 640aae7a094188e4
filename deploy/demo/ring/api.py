"""The endpoints under `/v1`. Sources: developer.amazon.com/docs/ring/: app-integrations.html, api-documentation.html."""

from typing import Any

import orjson

from deploy.demo.ring.books import Answer, Asked, Books
from deploy.demo.ring.state import Device, Integration, Refusal, Shape


def me(books: Books, asked: Asked, now: float) -> Answer:
    """`GET /v1/users/me`: whose token this is; a bad one is 403 here, and 401 everywhere else."""
    account = books.world.holder(asked.bearer, now, refused=403)
    return Answer({"data": {"type": "users", "id": account.id, "attributes": {}}})


def devices(books: Books, asked: Asked, now: float) -> Answer:
    """`GET /v1/devices`: what the user let the partner see."""
    account = books.world.holder(asked.bearer, now)
    return Answer({"data": [_device(device) for device in account.devices], "links": {}})


def claim(books: Books, asked: Asked, now: float) -> Answer:
    """`POST /v1/accounts/me/app-integrations` with the nonce of the user's redirect."""
    account = books.world.holder(asked.bearer, now)
    given = _given(asked)
    return _integration(
        books.world.claim(account, _text(given, "nonce"), _text(given, "account_identifier"), now), books.world.shape
    )


def complete(books: Books, asked: Asked, now: float) -> Answer:
    """`PATCH /v1/accounts/me/app-integrations` with `{"status": "completed"}`; the first one is told to whoever listens."""
    account = books.world.holder(asked.bearer, now)
    before = account.integration.standing if account.integration else None
    integration = books.world.complete(account, _text(_given(asked), "status"))
    if before != integration.standing:
        books.completed(account)
    return _integration(integration, books.world.shape)


def refused(refusal: Refusal, shape: Shape = "jsonapi") -> Answer:
    """Write a refusal as JSON:API does, or flat."""
    if shape == "flat":
        return Answer({"error": refusal.title, "message": refusal.detail}, refusal.status)
    error = {"status": str(refusal.status), "title": refusal.title, "detail": refusal.detail}
    return Answer({"errors": [error]}, refusal.status)


def _integration(integration: Integration, shape: Shape) -> Answer:
    attributes = {"status": integration.standing}
    if shape == "flat":
        return Answer(attributes)
    return Answer({"data": {"type": "app-integrations", "id": "me", "attributes": attributes}})


def _device(device: Device) -> dict[str, Any]:
    return {"type": "devices", "id": device.id, "attributes": {"name": device.name, "kind": device.kind}}


def _given(asked: Asked) -> dict[str, Any]:
    try:
        given = orjson.loads(asked.body or b"{}")
    except orjson.JSONDecodeError:
        raise Refusal(400, "Bad Request", "The body is not JSON.") from None
    if not isinstance(given, dict):
        raise Refusal(400, "Bad Request", "The body is not a JSON object.")
    return given


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, "Bad Request", f"{name} must be a string.")
    return value
