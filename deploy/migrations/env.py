"""What Alembic runs around the migrations: on the connection it is handed, in the transaction that is open there."""

from alembic import context

from deploy.migrations.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
