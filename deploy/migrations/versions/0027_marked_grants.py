"""The index that finds the grants that are marked as unreadable, for when their key is there again."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the index."""
    op.create_index(
        op.f("ix_linker_grants_risk_sealed_with_code_hash"),
        "linker_grants",
        ["risk", "sealed_with", "code_hash"],
        sqlite_where=sa.text("risk IS NOT NULL"),
        postgresql_where=sa.text("risk IS NOT NULL"),
    )
