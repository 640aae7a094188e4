"""When destinations were resumed, and when the next of what waits for each is due."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns."""
    with op.batch_alter_table("destination_resumed", schema=None) as batch_op:
        batch_op.add_column(sa.Column("at", sa.Double()))
    with op.batch_alter_table("destination_copy", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next_at", sa.Double()))
