"""When a destination last accepted an event, and how many each copy put on the dead letters since it began."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns."""
    with op.batch_alter_table("destination_copy", schema=None) as batch_op:
        batch_op.add_column(sa.Column("accepted_at", sa.Double()))
        batch_op.add_column(sa.Column("dead", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("dead_at", sa.Double()))
