"""Who may do what on the brokers, as commands for an operator: narrow, and nothing that is not named."""

from collections.abc import Collection, Sequence
from typing import Final, get_args

from schemas.topics import Role, Topic

COMMITTING: Final = frozenset({"linker", "dispatch", "deliver", "admin"})  # in transactions of their own
CONSUMING: Final = COMMITTING | {"partner"}
COMMAND: Final = 'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add'


def acls(namespace: str, topics: Collection[Topic]) -> Sequence[str]:
    """Return the kafka-acls commands for one user per role, `User:<namespace>-<role>`; brokers must deny by default.

    (`authorizer.class.name` set and `allow.everyone.if.no.acl.found=false`.) Writers and readers are those of schemas/topics.py.
    The partner's consumers are in groups of their own, `<namespace>-partner.…`: among the roles' groups they could take lanes.
    """
    roles: Sequence[Role] = get_args(Role)
    return [line for role in roles for line in _of_role(namespace, role, topics)]


def _of_role(namespace: str, role: Role, topics: Collection[Topic]) -> list[str]:
    user = f'{COMMAND} --allow-principal "User:{namespace}-{role}"'
    looking = "--operation Describe" if role == "partner" else "--operation Describe --operation DescribeConfigs"  # at the start
    lines = []
    for topic in topics:
        named = f"--topic '{topic.physical(namespace)}'"
        if role in topic.writers:
            lines.append(f"{user} --operation Write {looking} {named}")
        if role in topic.readers:
            lines.append(f"{user} --operation Read {looking} {named}")
        if role in topic.keepers:
            lines.append(f"{user} --operation AlterConfigs {named}")
    if role in CONSUMING:
        groups = f"{namespace}-{role}." if role == "partner" else f"{namespace}."
        prefix = f"--resource-pattern-type prefixed --group '{groups}'"
        lines.append(f"{user} --operation Read --operation Describe {prefix}")
    if role in COMMITTING:
        transactions = f"--resource-pattern-type prefixed --transactional-id '{namespace}.'"
        lines.append(f"{user} --operation Write --operation Describe {transactions}")
    return lines
