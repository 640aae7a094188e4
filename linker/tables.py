"""The linker's tables. Columns are the fields of linker/rows.py, besides the lease; queries stand in store.py alone."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text

from workers.runtime.database import metadata

grants: Final = Table(
    "linker_grants",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("stranger", Boolean, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("resume", Text),
    Column("resume_at", Double),
    Column("renewed", Boolean, nullable=False),
    Column("untaken_at", Double),
    Column("due_at", Double),
    Column("queue", Integer, nullable=False),
    Column("begun", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("posts", Integer, nullable=False),
    Column("patched", Boolean, nullable=False),
    Column("reason", Text),
    Column("account", Text),
    Column("attempt", Text),
    Column("partner_user", Text),
    Column("nonce_until", Double),
    Column("code", LargeBinary),
    Column("access", LargeBinary),
    Column("refresh", LargeBinary),
    Column("writes", Integer, nullable=False),
    Column("expires_at", Double),
    Column("tokens_at", Double),
    Column("settles_at", Double),
    Column("risk", Text),
    Column("withdrawn_at", Double),
    Column("look_at", Double),
    Column("looks", Integer, nullable=False),
    Column("open_at", Double),
    Column("pool", BigInteger),
    Column("completed_at", Double),
    Column("marks", Text, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("sealed_with", Text),  # the id of the key that sealed the tokens, so that an index finds what an old one holds
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Index(None, "queue", "due_at"),  # what ended has no due_at: looking for work does not cost more with what is stored
    Index(None, "account"),
    Index(None, "pool", "code_hash"),
    Index(None, "open_at"),
    Index(None, "generation"),  # the newest of all, for the findings
)
# Codes on the secret path that ended before Ring said whose they were: few among all, also where strangers sent many.
ended_unnamed: Final = grants.c.account.is_(None) & grants.c.due_at.is_(None) & ~grants.c.stranger
Index(None, grants.c.received_at, sqlite_where=ended_unnamed, postgresql_where=ended_unnamed)
ended_stranger: Final = grants.c.account.is_(None) & grants.c.due_at.is_(None) & grants.c.stranger
Index(None, grants.c.state, grants.c.received_at, sqlite_where=ended_stranger, postgresql_where=ended_stranger)
_whose = grants.c.partner_user.is_not(None)
Index(None, grants.c.partner_user, grants.c.generation, sqlite_where=_whose, postgresql_where=_whose)
_held = grants.c.sealed_with.is_not(None)
Index(None, grants.c.sealed_with, grants.c.code_hash, sqlite_where=_held, postgresql_where=_held)
_in_danger = grants.c.risk.is_not(None)
Index(None, grants.c.risk, grants.c.sealed_with, grants.c.code_hash, sqlite_where=_in_danger, postgresql_where=_in_danger)

# One row per key that the vault ever had: what shows that its id still stands for the same bytes, and when it last sealed.
keys: Final = Table(
    "linker_vault_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("proof", LargeBinary, nullable=False),
    Column("since", Double),  # when linkers began to seal with it, by the store's clock; empty: it only opens
    Column("seen_at", Double),  # when one last said so
)

attempts: Final = Table(
    "linker_attempts",
    metadata,
    Column("attempt", Text, primary_key=True),
    Column("nonce_hash", Text, unique=True),
    Column("secret", LargeBinary),
    Column("time", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("partner_user", Text, nullable=False),
    Column("requested_at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("grant", Text),
    Column("follows", Text),
    Column("reason", Text),
    Column("due_at", Double),
    Column("horizon", Double),
    Column("marks", Text, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Index(None, "due_at"),
    Index(None, "state", "until"),
    Index(None, "requested_at"),  # as above
)
looking: Final = attempts.c.due_at.is_not(None)
Index(None, attempts.c.partner_user, attempts.c.requested_at, sqlite_where=looking, postgresql_where=looking)

accounts: Final = Table(
    "linker_accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("announced", BigInteger, nullable=False),
    Column("behind", Boolean, nullable=False),  # announced < version, so that an index finds what is to be told
    Column("generation", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("linked", Boolean, nullable=False),
    Column("partner_user", Text),
    Column("changed_at", Double, nullable=False),
    Column("since", Double, nullable=False, server_default="0"),
    Column("risk", Text),
    Column("apps", Text, nullable=False),
)
Index(None, accounts.c.account, sqlite_where=accounts.c.behind, postgresql_where=accounts.c.behind)
_at_risk = accounts.c.risk.is_not(None)
Index(None, accounts.c.account, accounts.c.risk, sqlite_where=_at_risk, postgresql_where=_at_risk)

# The last word of Ring on each account's subscription, linked or not.
subscriptions: Final = Table(
    "linker_subscriptions",
    metadata,
    Column("account", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("plan_id", Text),
    Column("kind", Text),
    Column("expires_at", Text),  # as Ring wrote it
    Column("told_at", Double, nullable=False),  # by Ring's time of the event
)

# When the app was removed, by what Ring told within the last hour: a code may be named only after it.
removals: Final = Table(
    "linker_removals",
    metadata,
    Column("account", Text, primary_key=True),
    Column("app", Text, primary_key=True),  # empty where the removal names none
    Column("removed_at", Double, nullable=False),  # Ring's time
    Column("told_at", Double, nullable=False),  # ours
    Index(None, "told_at"),
)

# Accounts that the operator wants to be forgotten, until all of it is done: the only rows that name them then.
forgets: Final = Table(
    "linker_forgets",
    metadata,
    Column("account", Text, primary_key=True),
    Column("asked_at", Double, nullable=False),
    Column("swept", Boolean, nullable=False),  # nothing of it is in the store any more: the topic is to be told
)

# How many requests Ring gets, over all linkers: one row, read and written as a whole.
budget: Final = Table("linker_budget", metadata, Column("name", Text, primary_key=True), Column("book", Text, nullable=False))
