"""TXT records as octets: what the resolver gives in presentation format, joined (RFC 7208 §3.3)."""

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.txtbase import TXTBase

from mta.dns.answers import Answer


def joined(answer: Answer) -> tuple[bytes, ...]:
    """Return each TXT record of ``answer`` with its strings joined without a space."""
    return tuple(map(_joined, answer.texts))


def _joined(text: str) -> bytes:
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, text)
    except dns.exception.DNSException:  # a resolver's own words always parse; a test's may not
        return b""
    assert isinstance(rdata, TXTBase)
    return b"".join(rdata.strings)
