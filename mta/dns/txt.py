"""TXT records as octets: what the resolver gives in presentation format, joined (RFC 7208 §3.3).

Names that are asked for are often a stranger's choice, and so is what stands there.  Bounded: the
first records are read and no more, or an answer of 64 KiB would keep the processor busy for a
tenth of a second, for each name and each message.
"""

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.txtbase import TXTBase

from mta.dns.answers import Answer

_MOST = 100  # records
_LONGEST = 32 * 1024  # characters of all that are read


def joined(answer: Answer) -> tuple[bytes, ...]:
    """Return each TXT record of ``answer`` with its strings joined without a space.

    What goes beyond the bounds is left out.
    """
    found, left = [], _LONGEST
    for text in answer.texts[:_MOST]:
        if len(text) <= left:
            left -= len(text)
            found.append(_joined(text))
    return tuple(found)


def _joined(text: str) -> bytes:
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, text)
    except dns.exception.DNSException:  # a resolver's own words always parse; a test's may not
        return b""
    assert isinstance(rdata, TXTBase)
    return b"".join(rdata.strings)
