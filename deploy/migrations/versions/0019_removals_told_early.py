"""When the app was removed, by what Ring told within the last hour."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "linker_removals",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=False),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account", "app"),
    )
    op.create_index(op.f("ix_linker_removals_told_at"), "linker_removals", ["told_at"])
