"""When the removal was that waiting events are doubted for, and when the code of an account's link came."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns; 0: nobody knows, and nothing is left out."""
    with op.batch_alter_table("account_view", schema=None) as batch_op:
        batch_op.add_column(sa.Column("generation", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("doubted_at", sa.Double(), nullable=False, server_default="0"))
