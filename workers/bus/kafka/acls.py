"""Who may do what on the brokers, as commands for an operator: narrow, and nothing that is not named."""

from collections.abc import Collection, Sequence
from typing import Final, get_args

from schemas.topics import Role, Topic, physical

CONSUMING: Final = frozenset({"linker", "dispatch", "deliver", "admin"})  # roles with groups and transactions of their own
COMMAND: Final = 'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add'


def acls(namespace: str, topics: Collection[Topic]) -> Sequence[str]:
    """Return the kafka-acls commands for one user per role, `User:<namespace>-<role>`; brokers must deny by default.

    (`authorizer.class.name` set and `allow.everyone.if.no.acl.found=false`.) Writers and readers are those of schemas/topics.py.
    """
    roles: Sequence[Role] = get_args(Role)
    return [line for role in roles for line in _of_role(namespace, role, topics)]


def _of_role(namespace: str, role: Role, topics: Collection[Topic]) -> list[str]:
    user = f'{COMMAND} --allow-principal "User:{namespace}-{role}"'
    lines = []
    for topic in topics:
        named = f"--topic '{physical(namespace, topic.name)}'"
        if role in topic.writers:
            lines.append(f"{user} --operation Write --operation Describe {named}")
        if role in topic.readers:
            lines.append(f"{user} --operation Read --operation Describe {named}")
    if role in CONSUMING:
        prefix = f"--resource-pattern-type prefixed --group '{namespace}.'"
        lines.append(f"{user} --operation Read --operation Describe {prefix}")
        transactions = f"--resource-pattern-type prefixed --transactional-id '{namespace}.'"
        lines.append(f"{user} --operation Write --operation Describe {transactions}")
    return lines
