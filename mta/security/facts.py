"""What is known about a domain and a host before it is dialled: facts, no opinion.

Those of DANE are words of ``mta.mail.security``, as ``mta.dns.dane`` finds them out; those of
MTA-STS come from its own package and stand beside them.
"""

from dataclasses import dataclass
from enum import StrEnum

from mta.mail.security import NOT_LOOKED_FOR, Dane, DaneState, Published

__all__ = ["NOT_LOOKED_FOR", "Dane", "DaneState", "Sts", "StsMode", "Where"]


class StsMode(StrEnum):
    """RFC 8461 §3.2."""

    NONE = "none"
    TESTING = "testing"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Sts:
    """MTA-STS's facts: what the policy of a domain, in force now, says about one host."""

    mode: StsMode
    matches: bool  # the host is one that the policy names
    text: str = ""  # the policy in words: where it comes from, how old it is
    unknown: str = ""  # why it cannot be known now whether there is a policy, or another one
    published: Published | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """A host on the way to a domain."""

    domain: str  # the next-hop domain: the recipient's
    host: str
    # The DNS proves that the host takes mail for the domain (RFC 7672 §2.2.1); None: it cannot be
    # known now, because the resolver does not validate as it should
    signed: bool | None = False
    expanded: str = ""  # what ``domain`` is an alias of; "" if it is none
