"""Alembic's entry: run the revisions on the connection that ``apply`` was given.

There is no configuration file and no URL: the program hands over a connection that is
in a transaction, so that a migration that fails leaves nothing behind, on SQLite too.
"""

from alembic import context

from mta.spool import views
from mta.spool.schema import REVISION, metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    views.drop(connection)
    context.run_migrations()
    if context.get_context().get_current_revision() == REVISION:
        views.create(connection)
