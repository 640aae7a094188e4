"""What became of the events of a replay, and what a destination takes as its copies have it."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns."""
    with op.batch_alter_table("delivery_replay", schema=None) as batch_op:
        for name in ("accepted", "buried", "unsent"):
            batch_op.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("destination_copy", schema=None) as batch_op:
        batch_op.add_column(sa.Column("takes", sa.Text()))
