"""Accounts that end: what stops their deliveries, what is doubted of their grants, and whom the operator had forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables and columns here; an account that was removed before is stopped when its next removal is told."""
    op.create_table(
        "stop",
        sa.Column("account_hash", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_hash", name=op.f("pk_stop")),
    )
    op.create_table(
        "linker_subscriptions",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_linker_subscriptions")),
    )
    op.create_table(
        "linker_forgets",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("swept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_linker_forgets")),
    )
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("withdrawn_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("look_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("looks", sa.Integer(), nullable=False, server_default="0"))
