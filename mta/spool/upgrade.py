"""``mta db upgrade`` and ``mta db status``: the schema, asked for and changed by hand."""

from mta.spool.engine import create_engine, parse, prepare, reading, revision, sqlite_path
from mta.spool.errors import SpoolUnusable
from mta.spool.schema import REVISION


def upgrade(url: str) -> None:
    """Bring the spool at ``url`` up to date; create it if it is new."""
    prepare(url, migrate=True)


def status(url: str) -> tuple[str | None, str]:
    """Return the revision of the spool at ``url`` (None: empty) and the one needed."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        path = sqlite_path(parsed)
        if not path.exists():
            raise SpoolUnusable(f"spool {path}: the file does not exist")
    engine = create_engine(url)
    try:
        with reading(engine) as conn:
            return revision(conn), REVISION
    finally:
        engine.dispose()
