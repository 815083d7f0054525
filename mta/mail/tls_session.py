"""One TLS session with a mail exchanger, as TLS reports count it (RFC 8460 §4): words alone.

Sessions that are the same in all of this are counted together.  Of one that succeeded nothing but
the policy is told.
"""

from dataclasses import dataclass
from enum import StrEnum

from mta.mail.security import Result


class PolicyType(StrEnum):
    """What was applied (RFC 8460 §4.4, policy-type)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """The policy that a session was held against."""

    kind: PolicyType
    domain: str  # the Policy Domain: of TLSA records their base domain, else the recipient's
    lines: tuple[str, ...] = ()  # TLSA records, or the lines of an MTA-STS policy
    mx: tuple[str, ...] = ()  # with MTA-STS: the patterns of hosts


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One session, or the attempt at one."""

    domain: str  # the recipients', whom the report goes to
    policy: AppliedPolicy
    result: Result | None = None  # None: it came to what the policy wants
    sending: str = ""  # our address, as far as it is known
    host: str = ""  # the mail exchanger
    address: str = ""
    helo: str = ""  # how it called itself
    reason: str = ""  # what was wrong, in words
    coarse: bool = False  # of a domain with too many different ones: the rest is left out

    def coarsened(self) -> "TlsSession":
        """Return what is counted where too many different ones are there already."""
        policy = AppliedPolicy(self.policy.kind, self.domain)
        return TlsSession(self.domain, policy, self.result, coarse=True)
