"""Events that wait for their account's link, and marks on what a step takes away."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LIVE = sa.text("release_n IS NULL")
MARKED = sa.text("release_n IS NOT NULL")
READY = sa.text("ready AND release_n IS NULL")
SINGLE = sa.text("key <> '' AND release_n IS NULL")


def upgrade() -> None:
    """Bring the tables here; events that went out before stay out."""
    op.create_table(
        "waiting_row",
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("lane", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("release_n", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("grp", "lane", "key", "sequence", name=op.f("pk_waiting_row")),
    )
    op.create_index(op.f("ix_waiting_row_grp_lane_n"), "waiting_row", ["grp", "lane", "n"])
    _index("waiting_row", "ix_waiting_row_grp_lane_since", "since", LIVE)
    _index("waiting_row", "ix_waiting_row_grp_lane_release_n", "release_n", MARKED)

    op.create_table(
        "waiting_line",
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("lane", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("release_n", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("grp", "lane", "key", "n", name=op.f("pk_waiting_line")),
    )
    op.create_index(op.f("ix_waiting_line_grp_lane_n"), "waiting_line", ["grp", "lane", "n"])
    _index("waiting_line", "ix_waiting_line_grp_lane_rows", "rows", SINGLE)
    _index("waiting_line", "ix_waiting_line_ready", "key", READY)
    _index("waiting_line", "ix_waiting_line_grp_lane_release_n", "release_n", MARKED)

    for table in ("claim", "account_view", "device_view"):
        op.add_column(table, sa.Column("release_n", sa.BigInteger(), nullable=True))
        _index(table, f"ix_{table}_grp_lane_release_n", "release_n", MARKED)
    op.create_index(op.f("ix_device_view_account"), "device_view", ["account"])
    with op.batch_alter_table("account_view", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("pk_account_view"), type_="primary")
        batch_op.create_primary_key(op.f("pk_account_view"), ["account", "version", "n"])


def _index(table: str, name: str, column: str, where: sa.TextClause) -> None:
    op.create_index(op.f(name), table, ["grp", "lane", column], sqlite_where=where, postgresql_where=where)
