"""``mta account``: who may submit mail.

What is stored are SCRAM keys (SHA-256, SHA-1), from which the password cannot be had.  A change
takes effect at the next log-in; a running service remembers a successful one briefly.
"""

import click

from mta.admin.account_certificates import certificate, prepared_login
from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.passwords import keys_of, new_password, password_options
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.auth.passwords import SHA1
from mta.spool import accounts
from mta.spool.accounts import Account

_COLUMNS = (Column("LOGIN", style="bold"), Column("STATE"), Column("SINCE"))


@click.group()
def account() -> None:
    """Manage the accounts that may submit mail."""


account.add_command(certificate)


@account.command()
@click.argument("login")
@password_options
@pass_invocation
def add(invocation: Invocation, login: str, password_file: str | None, generate: bool) -> None:
    """Add an account.  Exit status 73 if there is one of that login."""
    login = prepared_login(login)
    invocation.create_spool()  # the first account may be older than the service
    with invocation.reading() as conn:
        if accounts.get(conn, login) is not None:
            raise _taken(login)
    password = new_password(invocation, password_file, generate)
    made = new_account(login, password, invocation.now_ms())
    with invocation.writing() as conn:
        if not accounts.add(conn, made):
            raise _taken(login)
    _done("added", login, password if generate else None)


@account.command()
@click.argument("login")
@password_options
@pass_invocation
def passwd(invocation: Invocation, login: str, password_file: str | None, generate: bool) -> None:
    """Give an account a new password."""
    login = prepared_login(login)
    with invocation.reading() as conn:
        if accounts.get(conn, login) is None:
            raise _unknown(login)
    password = new_password(invocation, password_file, generate)
    made = new_account(login, password, invocation.now_ms())
    with invocation.writing() as conn:
        if not accounts.replace_keys(conn, made):
            raise _unknown(login)
    _done("new password for", login, password if generate else None)


@account.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_(invocation: Invocation, as_json: bool) -> None:
    """List the accounts."""
    with invocation.reading() as conn:
        everyone = accounts.everyone(conn)
    if as_json:
        for one in everyone:
            json_line({"login": one.login, "disabled": one.disabled, "created_ms": one.created_ms})
        return
    table(
        _COLUMNS,
        [
            (
                visible(one.login),
                "disabled" if one.disabled else "enabled",
                moment(one.created_ms, invocation.zone),
            )
            for one in everyone
        ],
    )


@account.command()
@click.argument("login")
@pass_invocation
def disable(invocation: Invocation, login: str) -> None:
    """Let an account log in no more.  Mail that it has submitted stays in the queue."""
    with invocation.writing() as conn:
        if not accounts.disable(conn, prepared_login(login)):
            raise _unknown(login)
    _done("disabled", login)


@account.command()
@click.argument("login")
@pass_invocation
def enable(invocation: Invocation, login: str) -> None:
    """Let a disabled account log in again."""
    with invocation.writing() as conn:
        if not accounts.enable(conn, prepared_login(login)):
            raise _unknown(login)
    _done("enabled", login)


@account.command()
@click.argument("login")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def remove(invocation: Invocation, login: str, yes: bool) -> Exit:
    """Remove an account.  Mail that it has submitted stays in the queue."""
    login = prepared_login(login)
    with invocation.reading() as conn:
        if accounts.get(conn, login) is None:
            raise _unknown(login)
    if not yes:
        if not invocation.interactive():
            raise click.UsageError("Say --yes, for there is no terminal to ask on.")
        if not click.confirm(f"remove account {visible(login)}?", err=True):
            note("nothing changed")
            return Exit.NOTHING
    with invocation.writing() as conn:
        accounts.remove(conn, login)
    _done("removed", login)
    return Exit.DONE


def new_account(login: str, password: str, now_ms: int) -> Account:
    """Return an enabled account; ``Failure`` (DATA) if the password cannot be one."""
    keys, sha1 = keys_of(password), keys_of(password, SHA1)
    return Account(
        login,
        keys.salt,
        keys.iterations,
        keys.stored_key,
        keys.server_key,
        disabled=False,
        created_ms=now_ms,
        sha1_salt=sha1.salt,
        sha1_iterations=sha1.iterations,
        sha1_stored_key=sha1.stored_key,
        sha1_server_key=sha1.server_key,
    )


def _taken(login: str) -> Failure:
    return Failure(Exit.CANNOT_CREATE, f"there is an account {login!r} already; see 'passwd'")


def _unknown(login: str) -> Failure:
    return Failure(Exit.NO_USER, f"there is no account {login!r}")


def _done(what: str, login: str, generated: str | None = None) -> None:
    say(f"{what} {visible(login)}")
    if generated is not None:
        note("The password is shown this once:")
        say(generated)
