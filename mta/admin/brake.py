"""``mta brake``: logins that the compromise brake has stopped.

``mta brake show LOGIN`` is the one command: what went to whom, what is held, and with
``--release`` or ``--remove`` what becomes of the rest.
"""

import click

from mta.admin.exits import Exit
from mta.admin.filters import Chosen
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.queue_verbs import RELEASE, REMOVE, Consent, carry_out
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.policy.brake import PREFIX
from mta.spool import brakes
from mta.spool.brakes import Brake, Reached, Sent
from mta.spool.filters import Filter
from mta.spool.schema import State

_LOGINS = (Column("LOGIN", style="bold"), Column("STATE"), Column("SINCE"), Column("WHY"))
_SENT = (
    Column("DOMAIN", style="bold"),
    Column("STATE"),
    Column("RECIPIENTS", "right"),
    Column("FIRST"),
    Column("LAST"),
)
_REACHED = (
    Column("TIME"),
    Column("ID"),
    Column("STATE"),
    Column("SENDER"),
    Column("RECIPIENT", style="bold"),
)
_BEFORE_MS = 3_600_000  # the hour that tripped it


@click.group()
def brake() -> None:
    """See and release logins that send far more than they ever do."""


@brake.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_(invocation: Invocation, as_json: bool) -> Exit:
    """List the logins that were stopped."""
    with invocation.reading() as conn:
        found = brakes.everything(conn)
    if as_json:
        for one in found:
            json_line(_record(one))
        return Exit.DONE
    if not found:
        note("no login was ever stopped")
        return Exit.DONE
    rows = [
        (
            visible(one.login),
            "stopped" if one.released_ms is None else "released",
            moment(one.released_ms or one.tripped_ms, invocation.zone),
            visible(one.reason),
        )
        for one in found
    ]
    table(_LOGINS, rows)
    return Exit.DONE


@brake.command()
@click.argument("login")
@click.option("--release", is_flag=True, help="Send what is held, and let the login go on.")
@click.option("--remove", is_flag=True, help="Drop what is held; the login stays stopped.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--addresses", is_flag=True, help="Each recipient, not only their domains.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def show(
    invocation: Invocation,
    *,
    login: str,
    release: bool,
    remove: bool,
    yes: bool,
    addresses: bool,
    as_json: bool,
) -> Exit:
    """Show what LOGIN has sent to whom since an hour before it was stopped."""
    if release and remove:
        raise click.UsageError("--release and --remove exclude each other.")
    with invocation.reading() as conn:
        found = next((one for one in brakes.everything(conn) if one.login == login), None)
        since_ms = 0 if found is None else found.tripped_ms - _BEFORE_MS
        sent = [] if found is None else brakes.sent(conn, login, since_ms)
        each = brakes.reached(conn, login, since_ms) if found is not None and addresses else []
    if found is None:
        note(f"{visible(login)} was never stopped")
        return Exit.NOTHING
    if as_json:
        more = {"recipients": [_reached_record(one) for one in each]} if addresses else {}
        json_line(_record(found) | {"sent": [_sent_record(one) for one in sent]} | more)
    else:
        _draw(invocation, found, sent)
        if addresses:
            _draw_each(invocation, each)
    if release or remove:
        return _end(invocation, login, release, yes)
    return Exit.DONE


def _draw(invocation: Invocation, found: Brake, sent: list[Sent]) -> None:
    zone = invocation.zone
    state = "is stopped" if found.released_ms is None else "is released"
    say(f"{visible(found.login)} {state}: {visible(found.reason)}")
    say(f"stopped {moment(found.tripped_ms, zone)}; this is what came since an hour before:")
    say()
    rows = [
        (
            visible(one.domain),
            one.state.value,
            str(one.recipients),
            moment(one.first_ms, zone),
            moment(one.last_ms, zone),
        )
        for one in sent
    ]
    table(_SENT, rows)
    say()
    say(f"each held message: mta queue list --state held --login {visible(found.login)}")


def _draw_each(invocation: Invocation, each: list[Reached]) -> None:
    say()
    rows = [
        (
            moment(one.created_ms, invocation.zone),
            one.id,
            one.state.value,
            visible(one.sender or "<>"),
            visible(one.recipient),
        )
        for one in each
    ]
    table(_REACHED, rows)


def _end(invocation: Invocation, login: str, release: bool, yes: bool) -> Exit:
    """Release or remove what the brake holds of ``login``; what else is held stays."""
    if "*" in login:  # a filter would take it for a pattern
        raise click.UsageError("A login with * in it: use 'mta queue release' with ids.")
    chosen = Chosen(Filter(login=login, state=State.HELD, reply=PREFIX), nothing=False)
    verb = RELEASE if release else REMOVE
    ended = carry_out(invocation, verb, chosen, Consent(everything=False, yes=yes, dry_run=False))
    if not release or (ended is not Exit.DONE and not yes):
        return ended
    with invocation.writing() as conn:
        if brakes.release(conn, login, invocation.now_ms()):
            say(f"{visible(login)} may send again; what it sends this second may still be held")
            return Exit.DONE
    return ended


def _record(one: Brake) -> dict[str, object]:
    return {
        "login": one.login,
        "tripped_ms": one.tripped_ms,
        "reason": one.reason,
        "released_ms": one.released_ms,
    }


def _sent_record(one: Sent) -> dict[str, object]:
    return {
        "domain": one.domain,
        "state": one.state.value,
        "recipients": one.recipients,
        "first_ms": one.first_ms,
        "last_ms": one.last_ms,
    }


def _reached_record(one: Reached) -> dict[str, object]:
    return {
        "id": one.id,
        "created_ms": one.created_ms,
        "sender": one.sender,
        "recipient": one.recipient,
        "state": one.state.value,
    }
