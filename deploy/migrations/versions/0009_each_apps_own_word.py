"""Until when each former app of an account might tell of it, and by which app each device was learnt."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give each former app the end that all had; what is known of devices names no app, and is believed."""
    op.execute(sa.text(_ENDS))
    with op.batch_alter_table("account_view", schema=None) as batch_op:
        batch_op.drop_column("apps_since")
    with op.batch_alter_table("device_view", schema=None) as batch_op:
        batch_op.add_column(sa.Column("app", sa.Text(), nullable=False, server_default=""))
        batch_op.drop_constraint(op.f("pk_device_view"), type_="primary")
        batch_op.create_primary_key(op.f("pk_device_view"), ["device", "account", "app", "n"])


_ENDS = """
    update account_view
    set former_apps = replace(former_apps, ',', '@' || ended || ',') || '@' || ended
    from (
      select account as of_account, version as of_version, n as of_n,
        case when apps = '' then 'inf' else cast(apps_since as text) end as ended
      from account_view
    ) as ends
    where account = of_account and version = of_version and n = of_n and former_apps <> ''
"""
