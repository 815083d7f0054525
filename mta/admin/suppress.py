"""``mta suppress``: to whom no mail goes, for one account or for all.

A running service asks the list at each RCPT; a change is in force within a second.  It
trusts the operator's word for the login: there need be no such account.
"""

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.spool import suppressions
from mta.spool.suppressions import EVERYBODY, Suppression

_COLUMNS = (
    Column("ADDRESS", style="bold"),
    Column("LOGIN"),
    Column("SINCE"),
    Column("BY"),
    Column("REASON"),
)

_login = click.option(
    "--login", default=EVERYBODY, metavar="LOGIN", help="Only mail of this account; else all mail."
)


@click.group()
def suppress() -> None:
    """Keep mail from going to addresses (ann@example.org) and domains (@example.org)."""


@suppress.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@_login
@click.option("--reason", default="", help="Why; the log and 'list' show it, clients don't see it.")
@pass_invocation
def add(invocation: Invocation, addresses: tuple[str, ...], login: str, reason: str) -> Exit:
    """Refuse mail to ADDRESS from now on.  What is queued already stays in the queue."""
    prepared = [_prepared(address) for address in addresses]
    done = 0
    with invocation.writing() as conn:
        for address in prepared:
            entry = Suppression(address, login, reason, invocation.who(), invocation.now_ms())
            done += suppressions.add(conn, entry)
    say(f"suppressed {done} of {len(prepared)}; the others were already")
    return Exit.DONE if done else Exit.NOTHING


@suppress.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@_login
@pass_invocation
def remove(invocation: Invocation, addresses: tuple[str, ...], login: str) -> Exit:
    """Let mail go to ADDRESS again."""
    prepared = [_prepared(address) for address in addresses]
    with invocation.writing() as conn:
        done = sum(suppressions.remove(conn, address, login) for address in prepared)
    say(f"removed {done} of {len(prepared)}")
    return Exit.DONE if done else Exit.NOTHING


@suppress.command("list")
@click.argument("address", default="")
@click.option("--login", default=None, metavar="LOGIN", help='Of this account ("": for all).')
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_(invocation: Invocation, address: str, login: str | None, as_json: bool) -> Exit:
    """List who is suppressed, or whether ADDRESS is."""
    wanted = _prepared(address) if address else ""
    with invocation.reading() as conn:
        found = suppressions.everything(conn, wanted, login)
    if not found:
        note("nobody is suppressed" if not wanted else f"{visible(wanted)} is not suppressed")
        return Exit.DONE if not wanted else Exit.NOTHING
    if as_json:
        for one in found:
            json_line(
                {
                    "address": one.address,
                    "login": one.login,
                    "reason": one.reason,
                    "who": one.who,
                    "created_ms": one.created_ms,
                }
            )
        return Exit.DONE
    table(_COLUMNS, [_cells(one, invocation) for one in found])
    return Exit.DONE


def _cells(one: Suppression, invocation: Invocation) -> tuple[str, ...]:
    since = moment(one.created_ms, invocation.zone)
    login = visible(one.login) or "(all)"
    return visible(one.address), login, since, visible(one.who), visible(one.reason) or "-"


def _prepared(address: str) -> str:
    try:
        return suppressions.prepared(address)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
