"""What is known about a domain and a host before it is dialled: facts, no opinion.

``mta.dns.dane`` finds out the facts of DANE.  Those of MTA-STS come from its own package and
stand beside them.
"""

from dataclasses import dataclass
from enum import StrEnum

from mta.mail.security import Tlsa


class DaneState(StrEnum):
    """What the DNS says about a host (RFC 7672 §2.2)."""

    OFF = "off"  # nobody looked: no resolver that validates, or nobody asked
    INSECURE = "insecure"  # the host's addresses are not signed: no TLSA is looked for
    ABSENT = "absent"  # no TLSA records, or none that are signed
    UNUSABLE = "unusable"  # there are, and none of a kind that SMTP can use
    USABLE = "usable"
    FAILED = "failed"  # bogus, SERVFAIL, no answer: whatever is there cannot be known


@dataclass(frozen=True, slots=True)
class Dane:
    """DANE's facts about one host and port."""

    state: DaneState = DaneState.OFF
    records: tuple[Tlsa, ...] = ()  # usable ones
    base: str = ""  # the TLSA base domain: where the records were found (RFC 7672 §2.2.2)
    text: str = ""  # in words, for OFF, UNUSABLE and FAILED


NOT_LOOKED_FOR = Dane()


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


@dataclass(frozen=True, slots=True)
class Where:
    """A host on the way to a domain."""

    domain: str  # the next-hop domain: the recipient's
    host: str
    # The DNS proves that the host takes mail for the domain (RFC 7672 §2.2.1); None: it cannot be
    # known now, because the resolver does not validate as it should
    signed: bool | None = False
    expanded: str = ""  # what ``domain`` is an alias of; "" if it is none
