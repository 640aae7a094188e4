"""When the step is due that waits behind a renewal which somebody else asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resume_at", sa.Double(), nullable=True))
