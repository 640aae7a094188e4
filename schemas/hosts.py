"""Names of hosts. Pure."""


def is_host(name: str) -> bool:
    """Say whether a name can be looked up at all: no empty or overlong label, nothing unseen (RFC 1035, RFC 3490)."""
    try:
        return "\0" not in name and bool(name.encode("idna"))
    except UnicodeError:
        return False
