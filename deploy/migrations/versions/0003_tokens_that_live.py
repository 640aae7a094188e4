"""Tokens that live: when they came, what is doubtful about them, and which accounts are at risk."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIFETIME = 14_400  # seconds of an access token
_RESTS = "where access is not null and stage in ('rest', 'wait')"


def upgrade() -> None:
    """Bring the columns here; what rests already is renewed from now on, as its access token ends."""
    with op.batch_alter_table("linker_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("risk", sa.Text(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_linker_accounts_account_risk"),
            ["account", "risk"],
            unique=False,
            sqlite_where=sa.text("risk IS NOT NULL"),
            postgresql_where=sa.text("risk IS NOT NULL"),
        )
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tokens_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("settles_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("risk", sa.Text(), nullable=True))
    op.execute(f"update linker_grants set tokens_at = expires_at - {LIFETIME} where access is not null")  # noqa: S608 - a number
    op.execute(f"update linker_grants set due_at = expires_at, queue = 2 {_RESTS}")  # noqa: S608 - as above
