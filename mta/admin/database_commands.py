"""``mta db``: the schema of the spool, asked for and brought up to date by hand."""

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import json_line, say
from mta.spool import upgrade as schema
from mta.spool.engine import prepare
from mta.spool.errors import SpoolUnusable


@click.group()
def db() -> None:
    """Look after the schema of the spool."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def status(invocation: Invocation, as_json: bool) -> Exit:
    """Show the revision of the schema and the one that this version needs.

    Exit status 69 if this version cannot work with it.
    """
    url = invocation.settings.spool.url
    current, needed = schema.status(url)
    words, usable = f"this version needs {needed}; run 'mta db upgrade'", False
    if current == needed:
        words, usable = "up to date", True
    elif current is not None and current > needed:
        words, usable = _newer(url)
    if as_json:
        json_line({"current": current, "needed": needed, "usable": usable})
    else:
        say(f"schema {current or '(empty)'}: {words}")
    return Exit.DONE if usable else Exit.UNAVAILABLE


def _newer(url: str) -> tuple[str, bool]:
    try:
        return prepare(url), True
    except SpoolUnusable as error:
        return str(error), False


@db.command()
@pass_invocation
def upgrade(invocation: Invocation) -> None:
    """Bring the spool up to date; create it if it is new.

    Services may use it meanwhile, unless the news of the release say otherwise.  Have a backup.
    """
    url = invocation.settings.spool.url
    schema.upgrade(url)
    current, _ = schema.status(url)
    say(f"schema {current}: up to date")
