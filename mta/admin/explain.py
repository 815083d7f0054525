"""``mta explain``: what would become of a message, without one.

The very code of acceptance and delivery runs, in this process, and stops before MAIL; what a
running service knows beside that (sites that it leaves alone, suppressed addresses, alarms) is
read in the spool.  What is heavy is imported when there is something to explain.
"""

import ipaddress
from typing import Any

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import json_line, say, visible
from mta.config.units import parse_size
from mta.mail.address import domain_of, split

_EXITS = {"delivered": Exit.DONE, "deferred": Exit.NOTHING, "failed": Exit.WOULD_FAIL}


def _ip(ctx: click.Context, param: click.Parameter, value: str) -> str:
    del ctx, param
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    del ctx, param
    try:
        return 0 if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("address")
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS",
    help="Sender; '<>' is the null sender.  Else postmaster at this host.",
)
@click.option("--login", metavar="LOGIN", default="", help="As if this account had sent it.")
@click.option("--listener", metavar="NAME", default="", help="Where it is brought.")
@click.option("--client", metavar="IP", default="", callback=_ip, help="From where.")
@click.option("--size", metavar="SIZE", callback=_size, help="Of the message: 30MiB.")
@click.option("--connect", is_flag=True, help="Also open a session with the hosts, up to MAIL.")
@click.option(
    "--filters", is_flag=True, help="Also ask the filters, with a message made up, and lists."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 600),
    default=30.0,
    show_default=True,
    help="Seconds for all of it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def explain(
    invocation: Invocation, /, address: str, sender: str | None, *, as_json: bool, **how: Any
) -> Exit:
    """Say where mail for ADDRESS would go now, how, and why: what submission answers, and then a
    delivery that stops before MAIL.

    Exit status 0 if nothing stands in the way (as far as it went), 1 not now (held, suspended,
    no answer), 2 it would be refused or come back.
    Run it as the user that the service runs as, on its host: routes, secrets, DNS and addresses
    are those of who asks.
    """
    from mta.admin import explain_records, explain_words  # noqa: PLC0415 - the whole of delivery
    from mta.admin.explained import explained  # noqa: PLC0415
    from mta.admin.rehearsing import Question  # noqa: PLC0415

    _check(address)
    if sender is None:
        sender = f"postmaster@{invocation.settings.host_name}"
    sender = "" if sender == "<>" else sender
    if sender:
        _check(sender)
    question = Question(address, sender, **how)
    try:
        found, obstacles = explained(invocation, question)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    status = _EXITS[found.verdict.value]
    if status is Exit.DONE and any(one.blocks for one in obstacles):
        status = Exit.NOTHING
    if any(one.refuses for one in obstacles):
        status = Exit.WOULD_FAIL
    if as_json:
        json_line(explain_records.record(found, obstacles, status))
        return status
    for line in explain_words.lines(found, obstacles, status, invocation.now_ms(), invocation.zone):
        say(line)
    return status


def _check(address: str) -> None:
    try:
        if not split(address)[1] or not domain_of(address) or not address.isprintable():
            raise ValueError
    except ValueError:
        raise click.UsageError(f"{visible(address)} is not an address") from None
