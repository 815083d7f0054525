"""Does a domain say that it has a policy, and which one?  (RFC 8461 §3.1)

Trusts nobody: what the DNS says here makes us fetch a policy, or not.
"""

from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.txt import joined
from mta.sts.record import RecordInvalid, policy_id

# How long news counts here; the resolver goes by the record's time to live.  So often, too, the
# spool is asked for what other processes have found out.
SHORTEST_S, LONGEST_S = 60.0, 600.0
AGAIN_S = 60.0  # where the DNS had no answer


class Lookup(Protocol):
    """What is asked of a resolver; ``mta.dns.resolver.Resolver`` is one."""

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Return the records, or fail with ``NoSuchName`` or ``DnsTemporary``."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the DNS says."""

    id: str | None  # None: no record, or no good one
    due_s: float  # for how long that holds
    unknown: str = ""  # why it is not known


async def find(resolver: Lookup, domain: str) -> Record:
    """Ask for the record of ``domain``."""
    try:
        answer = await resolver.lookup(f"_mta-sts.{domain}", "TXT")
    except NoSuchName:
        return Record(None, LONGEST_S)
    except DnsTemporary as error:
        text = f"it cannot be known whether {domain} has an MTA-STS policy: {error}"
        return Record(None, AGAIN_S, text)
    due_s = min(max(answer.ttl, SHORTEST_S), LONGEST_S)
    try:
        return Record(policy_id(joined(answer)), due_s)
    except RecordInvalid:
        return Record(None, due_s)
