"""Recipients in domains of ours: whether there is such an address, and what it stands for.

Answers at RCPT, so that an unknown address is the client's to report and never ours to bounce, and
so that a message keeps what its sender named beside what that came to.  Whoever has not proved
to be anybody gets no further than the tables lead: to addresses that the operator has written
down, and to senders whose mail we have forwarded ourselves (SRS).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mta.inbound.relaying import RELAYING_DENIED
from mta.mail.address import domain_of, folded
from mta.mail.envelope import Recipient, Role
from mta.policy.addresses import Addresses
from mta.policy.aliases import Endless, Expansion, Final, UnknownAddress
from mta.smtp.commands import Rcpt
from mta.smtp.replies import Reply, reply
from mta.spool.intake import Remark

UNKNOWN = reply(550, "5.1.1", "There is no such address here")
ENDLESS = reply(451, "4.3.5", "The address can't be used at the moment; try again later")
REPORTS_ONLY = reply(550, "5.7.1", "This address takes nothing but reports")

_DAY_MS = 86_400_000
_ROUTING = "@%!"


_LookedUp: TypeAlias = tuple[str, tuple[Remark, ...]]


@dataclass(frozen=True, slots=True)
class Client:
    """What matters of who asks."""

    outside: bool  # has not logged in, and does not come from a trusted network
    submission: bool
    null_sender: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """No; ``reason`` is for the log."""

    reply: Reply
    reason: str


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a recipient leads."""

    recipients: tuple[Recipient, ...]
    remarks: tuple[Remark, ...] = ()

    @property
    def goals(self) -> tuple[Recipient, ...]:
        """Those to whom something is delivered."""
        return tuple(one for one in self.recipients if not one.role.reported_only)

    def without(self, recipient: Recipient, reason: str) -> "Aim":
        """Leave out one of several addresses behind an alias, to which no mail may go."""
        rest = tuple(one for one in self.recipients if one is not recipient)
        text = f"{recipient.address} is left out: {reason}"
        return Aim(rest, (*self.remarks, Remark("alias", text, "addresses")))


def aim(
    addresses: Addresses, address: str, rcpt: Rcpt, client: Client, now_ms: int
) -> Aim | Refusal | None:
    """Say where ``address`` leads; None: it is neither ours nor in any table."""
    before = _returned if is_srs(addresses, address) else _rewritten
    looked_up = before(addresses, address, client, now_ms)
    if looked_up is None or isinstance(looked_up, Refusal):
        return looked_up
    target, remarks = looked_up
    found = _expanded(addresses, target)
    if isinstance(found, Refusal):
        return found
    if client.outside and before is _rewritten and _hands_route_on(addresses, target, found):
        return Refusal(RELAYING_DENIED, "the local part is a route to somewhere else")
    recipients = tuple(_recipients(addresses, address, found, rcpt, client))
    used = (Remark("alias", text, "addresses") for text in found.told())
    return Aim(recipients, (*remarks, *used))


def sender(addresses: Addresses, address: str, *, submission: bool) -> tuple[str, Remark | None]:
    """Return what takes the place of a sender's address, and a remark if that is another."""
    new, tables = addresses.rewritten(address, sender=True, submission=submission)
    if not tables:
        return new, None
    text = f"sender {address} -> {new} by {', '.join(tables)}"
    return new, Remark("rewrite", text, "addresses")


def is_srs(addresses: Addresses, address: str) -> bool:
    """Tell whether ``address`` is one for bounces, as far as it says so itself."""
    return addresses.srs is not None and addresses.srs.claims(address)


def _returned(
    addresses: Addresses, address: str, client: Client, now_ms: int
) -> _LookedUp | Refusal:
    """Read an SRS address: a bounce goes on to the sender of what we have forwarded."""
    assert addresses.srs is not None
    if not client.null_sender:
        return Refusal(REPORTS_ONLY, "an SRS address takes bounces only")
    try:
        target = addresses.srs.reverse(address, now_ms // _DAY_MS)
        domain_of(target)
    except ValueError as error:  # Forged, Expired
        return Refusal(UNKNOWN, f"SRS: {error}")
    return target, (Remark("srs", f"{address} -> {target}", "addresses"),)


def _rewritten(
    addresses: Addresses, address: str, client: Client, _now_ms: int
) -> _LookedUp | None:
    """Look in the tables that rewrite; None: it is foreign and goes on unchanged."""
    target, tables = addresses.rewritten(address, sender=False, submission=client.submission)
    ours = addresses.local.ours
    if not ours(domain_of(target)):
        if not tables:
            return None
        if client.outside and not ours(domain_of(address)):
            return None  # a table is no way for strangers from outside to outside
    if not tables:
        return target, ()
    text = f"recipient {address} -> {target} by {', '.join(tables)}"
    return target, (Remark("rewrite", text, "addresses"),)


def _expanded(addresses: Addresses, target: str) -> Expansion | Refusal:
    if not addresses.local.ours(domain_of(target)):
        return Expansion(target, (Final(target),))
    try:
        return addresses.local.expand(target)
    except UnknownAddress as error:
        return Refusal(UNKNOWN, f"unknown address: {error}")
    except Endless as error:
        return Refusal(ENDLESS, f"endless alias: {error}")


def _hands_route_on(addresses: Addresses, target: str, found: Expansion) -> bool:
    """Tell whether a local part that could be a route goes on as the client has written it.

    Unless the operator has written down that very name, extension and all.
    """
    if not hides_route(target):
        return False
    name, _, domain = folded(target).rpartition("@")
    ours = addresses.local.domains.get(domain)
    if ours is not None and name in ours.recipients:
        return False
    return any(folded(one.address).rpartition("@")[0] == name for one in found.finals)


def hides_route(address: str) -> bool:
    """Tell whether a local part could mean another host to a server behind us.

    ``ann%example.com@ours``, ``example.com!ann@ours``, ``"ann@example.com"@ours``: an open relay
    in two steps, if the next host reads such things.
    """
    return any(char in folded(address).rpartition("@")[0] for char in _ROUTING)


def _recipients(
    addresses: Addresses, given: str, found: Expansion, rcpt: Rcpt, client: Client
) -> Sequence[Recipient]:
    """Make the recipients; RFC 3461 §5.2.7 says what of NOTIFY and ORCPT they inherit."""
    finals = found.finals
    if len(finals) == 1 and finals[0] == Final(given):
        return [Recipient(0, given, domain_of(given), notify=rcpt.notify, orcpt=rcpt.orcpt)]
    several = len(finals) > 1
    made = [_recipient(addresses, given, one, rcpt, client, several=several) for one in finals]
    wants = "SUCCESS" in rcpt.notify and not client.null_sender
    if not wants or not (several or finals[0].owner):
        return made
    role = Role.LIST if all(one.owner for one in finals) else Role.EXPANDED
    alias = Recipient(0, given, "", notify="SUCCESS", orcpt=rcpt.orcpt, role=role)
    return [*made, alias]


def _recipient(
    addresses: Addresses,
    given: str,
    final: Final,
    rcpt: Rcpt,
    client: Client,
    *,
    several: bool,
) -> Recipient:
    domain = domain_of(final.address)
    made = Recipient(0, final.address, domain, given=given)
    if final.owner and not client.null_sender:
        return replace(made, sender=final.owner)  # a new message, of the list's (§5.2.7.1)
    notify = rcpt.notify
    if several and "SUCCESS" in notify:
        left = [word for word in notify.split(",") if word != "SUCCESS"]
        notify = ",".join(left) or "NEVER"  # "" would ask for failures
    forwarded = client.outside and not addresses.local.ours(domain)
    return replace(
        made,
        notify=notify,
        orcpt=rcpt.orcpt,
        role=Role.FORWARDED if forwarded else Role.PLAIN,
    )
