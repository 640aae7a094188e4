"""A line of waiting events remembers each app's removal, not the last alone."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEY = ("grp", "lane", "key", "n")
LINES = sa.table("waiting_line", *map(sa.column, (*KEY, "doubted", "doubted_at", "doubted_app", "doubts")))


def upgrade() -> None:
    """Put what was told of removals into one column."""
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("doubts", sa.Text(), nullable=False, server_default="[]"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(LINES).where(LINES.c.doubted > 0)).mappings().all():
        mine = sa.and_(*(LINES.c[name] == row[name] for name in KEY))
        doubts = json.dumps([[row["doubted_app"], row["doubted_at"], row["doubted"]]])
        connection.execute(sa.update(LINES).where(mine).values(doubts=doubts))
    with op.batch_alter_table("waiting_line", schema=None) as batch_op:
        for name in ("doubted", "doubted_at", "doubted_app"):
            batch_op.drop_column(name)
