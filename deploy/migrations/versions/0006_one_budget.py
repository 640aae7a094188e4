"""The row in which all linkers share their requests to Ring."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the table; the first linker writes its row."""
    op.create_table(
        "linker_budget",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_linker_budget")),
    )
