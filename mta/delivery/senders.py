"""Which sender the next hop is told: as a rule the envelope's.

Decided for each recipient and at each attempt, so that the spool keeps what has arrived, and so
that tables and secrets in force now count.  In order: the owner of the list that the
recipient came from; the route's table; SRS for what is forwarded from outside to outside;
VERP.  The null sender stays what it is, or a report would be answered with a report.
"""

from collections.abc import Sequence
from dataclasses import replace

from mta.delivery.routes import Route
from mta.mail.address import domain_of
from mta.mail.envelope import Envelope, Recipient, Role
from mta.mail.outcome import CUT_OFF, Outcome, Verdict
from mta.mail.verp import sender_for
from mta.policy.addresses import Addresses
from mta.policy.matching import any_address

_DAY_MS = 86_400_000


def outgoing(
    sender: str, recipient: Recipient, route: Route, addresses: Addresses | None, now_ms: int
) -> str:
    """Return the sender for ``recipient`` by ``route``; ``sender`` is the envelope's."""
    if not sender:
        return sender
    sender = recipient.sender or sender
    if route.rewrite_sender is not None:
        sender = route.rewrite_sender.rewrite(sender)
    srs = addresses.srs if recipient.role is Role.FORWARDED and addresses is not None else None
    if srs is not None and addresses is not None and not addresses.local.ours(_domain(sender)):
        sender = srs.forward(sender, now_ms // _DAY_MS)
    if route.verp and (not route.verp_senders or any_address(route.verp_senders, sender)):
        sender = sender_for(sender, recipient.given or recipient.address, route.verp)
    return sender


def by_sender(
    envelope: Envelope,
    recipients: Sequence[Recipient],
    route: Route,
    addresses: Addresses | None,
    now_ms: int,
) -> dict[str, list[Recipient]]:
    """Gather recipients that are told the same sender: transactions of their own."""
    groups: dict[str, list[Recipient]] = {}
    for one in recipients:
        sender = outgoing(envelope.sender, one, route, addresses, now_ms)
        groups.setdefault(sender, []).append(one)
    return groups


def told(envelope: Envelope, sender: str, recipients: Sequence[Recipient]) -> Envelope:
    """Return the envelope as a group of recipients gets it.

    What a list passes on is a message of its own: RET and ENVID never come from the one that it
    was sent (RFC 3461 §5.2.7.1 (b)).
    """
    asked = envelope.asked
    if (asked.ret or asked.envid) and all(one.sender for one in recipients):
        asked = replace(asked, ret="", envid="")
    return replace(envelope, sender=sender, asked=asked)


def plain(recipients: Sequence[Recipient], route: Route) -> bool:
    """Tell whether everybody is told the envelope's sender, without a closer look."""
    if route.rewrite_sender is not None or route.verp:
        return False
    return not any(one.sender or one.role is Role.FORWARDED for one in recipients)


def _domain(address: str) -> str:
    try:
        return domain_of(address)
    except ValueError:
        return ""


def interrupted(recipients: Sequence[Recipient], done: Sequence[Outcome]) -> list[Outcome]:
    """Put off those who are left when an attempt is cut off: the others have had theirs."""
    numbers = {one.recipient for one in done}
    return [
        Outcome(one.number, Verdict.DEFERRED, 0, "4.3.2", CUT_OFF, "")
        for one in recipients
        if one.number not in numbers
    ]
