"""Since when an account's events are its user's, as the linker knows it; and by which app those came that a removal is about."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns; 0: not known; empty: by any."""
    with op.batch_alter_table("linker_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("since", sa.Double(), nullable=False, server_default="0"))
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("doubted_app", sa.Text(), nullable=False, server_default=""))
