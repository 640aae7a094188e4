"""The indexes that find codes and sign-ins which ended long ago, and what a user looks for just now."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the indexes."""
    stranger = sa.text("account IS NULL AND due_at IS NULL AND stranger")
    looking = sa.text("due_at IS NOT NULL")
    op.create_index(
        op.f("ix_linker_grants_state_received_at"),
        "linker_grants",
        ["state", "received_at"],
        sqlite_where=sa.text("account IS NULL AND due_at IS NULL AND stranger = 1"),
        postgresql_where=stranger,
    )
    op.create_index(op.f("ix_linker_attempts_state_until"), "linker_attempts", ["state", "until"])
    op.create_index(
        op.f("ix_linker_attempts_partner_user_requested_at"),
        "linker_attempts",
        ["partner_user", "requested_at"],
        sqlite_where=looking,
        postgresql_where=looking,
    )
