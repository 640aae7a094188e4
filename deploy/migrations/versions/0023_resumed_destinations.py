"""How often destinations were resumed, which copies have heard of it, and until when one has asked for rest."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and bring the columns."""
    op.create_table(
        "destination_resumed",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("destination"),
    )
    with op.batch_alter_table("destination_copy", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resumed", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("quiet_until", sa.Double()))
