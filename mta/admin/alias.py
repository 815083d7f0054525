"""``mta alias``: what an address comes to, and by which line of which file.

Asks the very code that answers RCPT, with the configuration as it is written now; a running
service has what it read at its start or at the last SIGHUP.
"""

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, note, say, table, visible
from mta.mail.address import domain_of, split

_COLUMNS = (Column("ADDRESS", style="bold"), Column("FAILURES GO TO"), Column("FORWARDED"))


@click.command()
@click.argument("address")
@click.option("--submission", is_flag=True, help="For a client that has logged in.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def alias(invocation: Invocation, address: str, submission: bool, as_json: bool) -> Exit:
    """Show what mail for ADDRESS comes to: aliases, catch-all, rewriting, SRS.

    Exit status 1 if there is no such address.
    """
    from mta.config.build_addresses import addresses  # noqa: PLC0415 - reads files
    from mta.inbound.addressing import Aim, Client, Refusal, aim, is_srs  # noqa: PLC0415
    from mta.smtp.commands import Rcpt  # noqa: PLC0415

    try:
        if not split(address)[1] or not domain_of(address):
            raise ValueError
    except ValueError:
        raise click.UsageError(f"{visible(address)} is not an address") from None
    tables = addresses(invocation.settings)
    found: Aim | Refusal | None = None
    if tables is not None:
        client = Client(
            outside=not submission, submission=submission, null_sender=is_srs(tables, address)
        )
        found = aim(tables, address, Rcpt(address), client, invocation.now_ms())
    if found is None:
        note(f"{visible(address)} is in no domain of ours, and in no table")
        return Exit.NOTHING
    if isinstance(found, Refusal):
        answer = found.reply
        note(f"{answer.code} {answer.enhanced} {answer.text} ({visible(found.reason)})")
        return Exit.NOTHING
    if as_json:
        steps = [{"verb": one.verb, "text": one.text} for one in found.remarks]
        ends = [
            {"address": one.address, "owner": one.sender, "role": one.role.value}
            for one in found.recipients
        ]
        json_line({"address": address, "steps": steps, "recipients": ends})
        return Exit.DONE
    for remark in found.remarks:
        say(f"{remark.verb}: {visible(remark.text)}")
    if found.remarks:
        say()
    table(
        _COLUMNS,
        [
            (visible(one.address), visible(one.sender) or "the sender", one.role.value or "-")
            for one in found.recipients
        ],
    )
    return Exit.DONE
