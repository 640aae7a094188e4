"""Through which waiting event a removal is about all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the column; 0: of no event, and what is left is looked at when its wait is over."""
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sure", sa.BigInteger(), nullable=False, server_default="0"))
