"""What the resolver says: answers, and the two ways in which there is none."""

from dataclasses import dataclass
from typing import TypeAlias


class DnsTemporary(Exception):
    """No usable answer came: time-out, SERVFAIL, REFUSED, garbage, a loop of aliases.

    Asking again later may help (RFC 3463: 4.4.3).
    """


class NoSuchName(Exception):
    """The name does not exist at all (NXDOMAIN, RFC 2308 §2.1)."""


@dataclass(frozen=True, slots=True)
class Mx:
    """An MX record (RFC 5321 §5.1); ``exchange`` is ``""`` for the root (RFC 7505)."""

    preference: int
    exchange: str  # lower case, no final dot


Record: TypeAlias = str | Mx


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name and type; without records the name exists (NODATA)."""

    name: str  # canonical: the end of the chain of CNAMEs; lower case, no final dot
    records: tuple[Record, ...]  # MX as ``Mx``, all others in presentation format
    ttl: int  # seconds for which it holds
    authenticated: bool = False  # DNSSEC-validated, by a resolver that is believed

    @property
    def texts(self) -> tuple[str, ...]:
        """The records that are not MX: addresses for A and AAAA."""
        return tuple(record for record in self.records if isinstance(record, str))

    @property
    def exchanges(self) -> tuple[Mx, ...]:
        """The MX records."""
        return tuple(record for record in self.records if isinstance(record, Mx))
