"""The index that finds the links of a user, for one who signs in again long after."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the index."""
    op.create_index(
        op.f("ix_linker_grants_partner_user_generation"),
        "linker_grants",
        ["partner_user", "generation"],
        sqlite_where=sa.text("partner_user IS NOT NULL"),
        postgresql_where=sa.text("partner_user IS NOT NULL"),
    )
