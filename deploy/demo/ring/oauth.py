"""`POST /oauth/token`: form-encoded in, RFC 6749 out. Source: developer.amazon.com/docs/ring/account-linking.html."""

from dataclasses import asdict
from urllib.parse import parse_qs

from deploy.demo.ring.books import Answer, Asked, Books
from deploy.demo.ring.state import Refusal

FORM = "application/x-www-form-urlencoded"


def token(books: Books, asked: Asked, now: float) -> Answer:
    """Trade a code or a refresh token for tokens."""
    if asked.media_type != FORM:
        raise Refusal(400, "invalid_request", f"The body must be {FORM}.")
    form = fields(asked)
    client_id = books.world.authenticate(form.get("client_id", ""), form.get("client_secret", ""))
    match form.get("grant_type"):
        case "authorization_code":
            tokens = books.world.exchange(_required(form, "code"), now, client_id)
        case "refresh_token":
            tokens = books.world.refresh(_required(form, "refresh_token"), now, client_id)
        case _:
            raise Refusal(400, "unsupported_grant_type", "Only authorization_code and refresh_token.")
    return Answer(asdict(tokens), headers=(("Cache-Control", "no-store"),))


def refused(refusal: Refusal) -> Answer:
    """Write a refusal as OAuth does."""
    return Answer({"error": refusal.title, "error_description": refusal.detail}, refusal.status)


def fields(asked: Asked) -> dict[str, str]:
    """Return the form's fields; one that comes twice counts with its first value."""
    return {name: values[0] for name, values in parse_qs(asked.body.decode(errors="replace")).items()}


def _required(form: dict[str, str], name: str) -> str:
    if not (value := form.get(name)):
        raise Refusal(400, "invalid_request", f"{name} is required.")
    return value
