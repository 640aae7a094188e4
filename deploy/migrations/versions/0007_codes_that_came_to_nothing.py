"""The index that finds codes which ended before Ring said whose they were: a sign-in that waits in vain is told of the last."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the index; each engine has its own word for what is false, as the query says it."""
    op.create_index(
        op.f("ix_linker_grants_received_at"),
        "linker_grants",
        ["received_at"],
        sqlite_where=sa.text("account IS NULL AND due_at IS NULL AND stranger = 0"),
        postgresql_where=sa.text("account IS NULL AND due_at IS NULL AND NOT stranger"),
    )
