"""By which apps an account's webhooks may come, and by which they might before."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the columns; empty, nobody can say, and nothing is compared until the account changes."""
    with op.batch_alter_table("linker_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("apps", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("account_view", schema=None) as batch_op:
        batch_op.add_column(sa.Column("apps", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("former_apps", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("apps_since", sa.Double(), nullable=False, server_default="0"))
