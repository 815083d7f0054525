"""``mta account certificate``: which client certificates stand for which accounts.

A certificate is told by one of three marks.  A *fingerprint* pins one certificate, whoever has
issued it.  A *name* in it or its *subject* hold for every certificate that says so, and only if
one of ``tls.client_authorities`` has issued it.
"""

import re
from pathlib import Path

import click

from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, moment, say, table, visible
from mta.auth.passwords import prepare_login
from mta.spool import accounts, certificates
from mta.spool.certificates import Mapping

_COLUMNS = (Column("LOGIN", style="bold"), Column("KIND"), Column("VALUE"), Column("SINCE"))
_KINDS = ("fingerprint", "name", "subject")


@click.group()
def certificate() -> None:
    """Manage the client certificates that accounts log in with (EXTERNAL)."""


_mark = click.option(
    "--kind", type=click.Choice(_KINDS), default="fingerprint", help="Default: fingerprint."
)


@certificate.command()
@click.argument("login")
@click.argument("value")
@_mark
@pass_invocation
def add(invocation: Invocation, login: str, value: str, kind: str) -> None:
    """Have the certificate that VALUE tells stand for account LOGIN.

    VALUE is a PEM file with the certificate, or the mark itself: a SHA-256 fingerprint in
    hexadecimal, dns:NAME, email:ADDRESS or uri:URI (--kind name), or a subject as RFC 4514
    writes it (--kind subject).
    """
    login = prepared_login(login)
    for mark in _marks(kind, value):
        with invocation.writing() as conn:
            if accounts.get(conn, login) is None:
                raise Failure(Exit.NO_USER, f"there is no account {login!r}")
            owner = certificates.add(conn, Mapping(kind, mark, login, invocation.now_ms()))
        if owner != login:
            raise Failure(Exit.CANNOT_CREATE, f"{kind} {mark} stands for {owner!r} already")
        say(f"{visible(login)}: {kind} {visible(mark)}")


@certificate.command("list")
@click.argument("login", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_(invocation: Invocation, login: str | None, as_json: bool) -> None:
    """List the certificates of all accounts, or of LOGIN."""
    wanted = None if login is None else prepared_login(login)
    with invocation.reading() as conn:
        found = certificates.everything(conn, wanted)
    if as_json:
        for one in found:
            json_line(
                {
                    "login": one.login,
                    "kind": one.kind,
                    "value": one.value,
                    "created_ms": one.created_ms,
                }
            )
        return
    rows = [
        (visible(one.login), one.kind, visible(one.value), moment(one.created_ms, invocation.zone))
        for one in found
    ]
    table(_COLUMNS, rows)


@certificate.command()
@click.argument("login")
@click.argument("value")
@_mark
@pass_invocation
def remove(invocation: Invocation, login: str, value: str, kind: str) -> Exit:
    """Have the certificate that VALUE tells stand for LOGIN no longer."""
    login = prepared_login(login)
    removed = 0
    for mark in _marks(kind, value):
        with invocation.writing() as conn:
            removed += certificates.remove(conn, login, kind, mark)
    if not removed:
        return Exit.NOTHING
    say(f"removed from {visible(login)}")
    return Exit.DONE


def prepared_login(login: str) -> str:
    """Return a login as accounts are called; a wrong one is wrong usage."""
    try:
        return prepare_login(login)
    except ValueError as error:
        raise click.UsageError(f"The login {error}.") from error


def _marks(kind: str, value: str) -> list[str]:
    """Return what ``value`` stands for: itself, or what the certificate in that file says."""
    path = Path(value)
    if path.is_file():
        marks = _in_file(kind, path)
        if not marks:
            raise Failure(Exit.DATA, f"{path}: the certificate has no {kind}")
        return marks
    if kind == "fingerprint":
        digits = value.replace(":", "").lower()
        if not re.fullmatch("[0-9a-f]{64}", digits):
            raise click.UsageError(f"{value!r} is neither a file nor a SHA-256 fingerprint.")
        return [digits]
    if kind == "name":
        type_, colon, name = value.partition(":")
        if type_ not in ("dns", "email", "uri") or not colon or not name:
            raise click.UsageError("A name is dns:NAME, email:ADDRESS or uri:URI.")
        from mta.tls.clients import written  # noqa: PLC0415 - slow, and not for every command

        return [written(type_, name)]
    return [value]


def _in_file(kind: str, path: Path) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - slow, and not for every command

    from mta.tls.clients import describe  # noqa: PLC0415

    try:
        shown = describe(x509.load_pem_x509_certificate(path.read_bytes()))
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        raise Failure(Exit.DATA, f"{path}: no usable PEM certificate in it") from error
    return [value for found, value in shown.marks if found == kind]
