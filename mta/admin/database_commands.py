"""``mta db``: the schema of the spool, asked for and brought up to date by hand."""

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import json_line, say
from mta.spool import upgrade as schema


@click.group()
def db() -> None:
    """Look after the schema of the spool."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def status(invocation: Invocation, as_json: bool) -> Exit:
    """Show the revision of the schema and the one that this version needs.

    Exit status 69 if they differ.
    """
    current, needed = schema.status(invocation.settings.spool.url)
    if as_json:
        json_line({"current": current, "needed": needed, "usable": current == needed})
    elif current == needed:
        say(f"schema {current}: up to date")
    else:
        say(f"schema {current or '(empty)'}: this version needs {needed}; run 'mta db upgrade'")
    return Exit.DONE if current == needed else Exit.UNAVAILABLE


@db.command()
@pass_invocation
def upgrade(invocation: Invocation) -> None:
    """Bring the spool up to date; create it if it is new.

    Stop the services that use it first, and have a backup.
    """
    url = invocation.settings.spool.url
    schema.upgrade(url)
    current, _ = schema.status(url)
    say(f"schema {current}: up to date")
