"""Whose rows are that wait for a destination, and what the first of each line went through."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the column, and make the table."""
    with op.batch_alter_table("waiting_row", schema=None) as batch_op:
        batch_op.add_column(sa.Column("whose", sa.Text(), nullable=True))
    named = sa.text("whose IS NOT NULL")
    op.create_index(
        op.f("ix_waiting_row_grp_lane_whose"), "waiting_row", ["grp", "lane", "whose"], postgresql_where=named, sqlite_where=named
    )
    op.create_table(
        "delivery_try",
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("lane", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("tries", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("grp", "lane", "key"),
    )
