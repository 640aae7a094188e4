"""Up to which of an account's waiting events a removal was told, so that those of a new connection outlive it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the column; 0: no removal was told since they began to wait."""
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("doubted", sa.BigInteger(), nullable=False, server_default="0"))
