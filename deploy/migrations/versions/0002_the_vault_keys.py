"""Which key sealed each row's tokens, and what the vault's keys are known by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Sealed bytes begin with a version, the length of the key's id, and the id.
POSTGRES = """
    update linker_grants set sealed_with = convert_from(substring(access from 3 for get_byte(access, 1)), 'UTF8')
    where access is not null
"""
SQLITE = """
    update linker_grants set sealed_with = cast(substr(access, 3, unicode(cast(substr(access, 2, 1) as text))) as text)
    where access is not null
"""


def upgrade() -> None:
    """Bring the tables here."""
    op.create_table(
        "linker_vault_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("seen_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_linker_vault_keys")),
    )
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sealed_with", sa.Text(), nullable=True))
    op.execute(POSTGRES if op.get_bind().dialect.name == "postgresql" else SQLITE)
    held = sa.text("sealed_with IS NOT NULL")
    with op.batch_alter_table("linker_grants", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_linker_grants_sealed_with_code_hash"),
            ["sealed_with", "code_hash"],
            unique=False,
            sqlite_where=held,
            postgresql_where=held,
        )
