"""Where mail may go: allowed and forbidden destinations, and what DNS says of a domain.

The suppression list is in the spool and is asked by ``mta.gate``.  All of them tell a client
the same, except a domain that says itself, in public, that it takes no mail.
"""

from dataclasses import dataclass
from enum import Enum

from mta.policy.decision import Decision, refuse
from mta.policy.matching import AddressPattern, any_address

TEXT = "Mail to this address is not permitted"


class Domain(Enum):
    """What is known of a recipient's domain; UNKNOWN is never a reason to refuse."""

    TAKES_MAIL = 1
    NULL_MX = 2  # RFC 7505
    MISSING = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Recipients:
    """The rules."""

    allowed: tuple[AddressPattern, ...] = ()  # if there are any, nothing else is
    forbidden: tuple[AddressPattern, ...] = ()  # before ``allowed``
    null_mx: bool = False  # ask whether a domain takes mail at all (RFC 7505)
    missing: bool = False  # ask whether it exists
    null_mx_senders: bool = False  # of mail from outside: ask whether its sender could be answered

    @property
    def asks_dns(self) -> bool:
        """Whether anything is to be asked."""
        return self.null_mx or self.missing

    def judge(self, address: str) -> Decision | None:
        """Decide by the address alone."""
        if self.forbidden and any_address(self.forbidden, address):
            return refuse("forbidden destination", 550, "5.7.1", TEXT)
        if self.allowed and not any_address(self.allowed, address):
            return refuse("not an allowed destination", 550, "5.7.1", TEXT)
        return None

    def judge_domain(self, domain: str, found: Domain) -> Decision | None:
        """Decide by what DNS has said of ``domain``."""
        if found is Domain.NULL_MX and self.null_mx:  # RFC 7505 §3: 556 and 5.1.10
            text = "The recipient's domain does not accept mail"
            return refuse(f"null MX: {domain}", 556, "5.1.10", text)
        if found is Domain.MISSING and self.missing:
            text = "The recipient's domain does not exist"
            return refuse(f"no such domain: {domain}", 550, "5.1.2", text)
        return None


def judge_sender_domain(domain: str, found: Domain) -> Decision | None:
    """Decide on the domain of a sender from outside (RFC 7505 §4.2)."""
    if found is not Domain.NULL_MX:
        return None
    text = "The sender's domain does not accept mail: it could not be answered"
    return refuse(f"null MX of the sender: {domain}", 550, "5.7.27", text)


def suppressed(address: str, why: str) -> Decision:
    """Return the refusal of an address on the suppression list."""
    return refuse(f"suppressed: {address}{f' ({why})' if why else ''}", 550, "5.7.1", TEXT)
