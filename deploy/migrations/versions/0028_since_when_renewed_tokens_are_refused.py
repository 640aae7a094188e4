"""Since when Ring's API refuses tokens that its OAuth has renewed: their hour of tries counts from then."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("untaken_at", sa.Double(), nullable=True))
