"""The indexes that find the newest links and sign-ins, for the findings."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the indexes."""
    op.create_index(op.f("ix_linker_grants_generation"), "linker_grants", ["generation"])
    op.create_index(op.f("ix_linker_attempts_requested_at"), "linker_attempts", ["requested_at"])
