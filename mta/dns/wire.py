"""DNS messages: a question as bytes, and what a reply to it means (RFC 1035, 2308, 6891).

Pure: bytes in, values out.  Whether a reply is one to our question at all is decided
here as well, because that is what a forger has to guess (RFC 5452 §9.1): the id and the
question; address and ports are looked after by ``mta.dns.exchange``.

Trusts: the AD bit only when told to.  Does not do: validating DNSSEC itself; referrals
(a server that answers with one does not recurse for us, and is of no use).
"""

from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.SOA import SOA

from mta.dns.answers import Answer, Mx, Record

UDP_SIZE = 1232  # octets; fits any path without fragments (DNS flag day 2020)
MAX_ALIASES = 10
MAX_TTL_S = 86_400
MAX_NEGATIVE_TTL_S = 10_800  # RFC 2308 §5

_HEADER = 12
_QR, _TC = 0x80, 0x02  # in the third octet
_NO_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS}  # RFC 6891 §6.2.2, §7
# A server may leave out the question where it could not, or would not, read the query.
_MAY_LACK_QUESTION = {
    dns.rcode.FORMERR,
    dns.rcode.NOTIMP,
    dns.rcode.REFUSED,
    dns.rcode.SERVFAIL,
}


class ServerUnusable(Exception):
    """What one server said, or did not say, is of no use; another may do better."""


class ServerSilent(ServerUnusable):
    """The server did not answer at all, which says something about the server itself."""


class ServerUnreached(ServerSilent):
    """It was not even asked: no way to it from here, or no socket to ask with."""


class NoEdns(ServerUnusable):
    """The server does not understand EDNS0: to be asked again without."""


class NotAName(Exception):
    """What was asked for can't be a domain name, so it does not exist."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The name does not exist."""

    ttl: int  # seconds for which that holds; 0: not to be cached


@dataclass(frozen=True, slots=True)
class Alias:
    """The reply ends in an alias whose target has to be asked for separately."""

    target: str
    ttl: int
    authenticated: bool


Finding = Answer | Absent | Alias


@dataclass(frozen=True, slots=True)
class Query:
    """One question under one id, ready to send."""

    id: int
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    wire: bytes
    edns: bool
    validating: bool


def make_query(name: str, rdtype: str, ident: int, *, validating: bool, edns: bool = True) -> Query:
    """Make the question; raises ``NotAName``."""
    if not name:
        raise NotAName("the empty name")
    try:
        qname = dns.name.from_text(name.encode("ascii").decode())
    except (UnicodeError, dns.exception.DNSException) as error:
        raise NotAName(f"{name!r} is not a domain name") from error
    kind = dns.rdatatype.from_text(rdtype)
    message = dns.message.make_query(qname, kind, id=ident)
    if validating:
        message.flags |= dns.flags.AD  # RFC 6840 §5.7: we understand the answer's
    if edns:
        message.use_edns(0, payload=UDP_SIZE)
    return Query(ident, qname, kind, message.to_wire(), edns, validating)


def is_reply(query: Query, data: bytes) -> bool:
    """Whether ``data`` answers ``query``: anything else is to be ignored, not believed.

    Raises ``ServerUnusable`` for garbage under the right id.
    """
    if len(data) < _HEADER or int.from_bytes(data[:2], "big") != query.id or not data[2] & _QR:
        return False
    try:
        head = dns.message.from_wire(data, question_only=True)
    except Exception as error:  # a parser at work on whatever the network sends
        raise ServerUnusable(f"garbage ({error})") from error
    if head.opcode() != dns.opcode.QUERY:
        return False
    if not head.question:
        return (data[3] & 0x0F) in _MAY_LACK_QUESTION
    asked = [(one.name, one.rdtype, one.rdclass) for one in head.question]
    return asked == [(query.name, query.rdtype, dns.rdataclass.IN)]


def is_truncated(data: bytes) -> bool:
    """Whether the reply says that it did not fit: to be asked for by TCP (RFC 7766 §5)."""
    return bool(data[2] & _TC)


def read_reply(query: Query, data: bytes) -> Finding:
    """Say what a reply means.  Raises ``ServerUnusable`` (``NoEdns``)."""
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
        return _read(query, message)
    except ServerUnusable:
        raise
    except Exception as error:  # a parser at work on whatever the network sends
        raise ServerUnusable(f"garbage ({error})") from error


def _read(query: Query, message: dns.message.Message) -> Finding:
    rcode = message.rcode()
    if query.edns and rcode in _NO_EDNS:
        raise NoEdns(dns.rcode.to_text(rcode))
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ServerUnusable(dns.rcode.to_text(rcode))
    authenticated = query.validating and bool(message.flags & dns.flags.AD)
    name, ttl, found = _follow(query, message)
    if found is not None:
        records = tuple(_record(rdata) for rdata in found)
        return Answer(_text(name), records, _bounded(min(ttl, found.ttl)), authenticated)
    if message.answer and all(rrset.name != query.name for rrset in message.answer):
        # Not "there is nothing": whoever says this has not answered the question.
        raise ServerUnusable("records of other names")
    negative = min(ttl, _negative_ttl(message))
    if rcode == dns.rcode.NXDOMAIN:
        return Absent(negative)
    if _soa(message) is not None:
        return Answer(_text(name), (), negative, authenticated)
    if name != query.name:
        return Alias(_text(name), _bounded(ttl), authenticated)
    if any(rrset.rdtype == dns.rdatatype.NS for rrset in message.authority):
        raise ServerUnusable("a referral: it does not look names up for others")
    return Answer(_text(name), (), 0, authenticated)


def _follow(
    query: Query, message: dns.message.Message
) -> tuple[dns.name.Name, int, dns.rrset.RRset | None]:
    """Walk the aliases within one answer (RFC 1034 §3.6.2): where they end, and what is there."""
    name, ttl = query.name, MAX_TTL_S
    seen = {name}
    while True:
        found = _rrset(message, name, query.rdtype)
        if found is not None:
            return name, ttl, found
        alias = _rrset(message, name, dns.rdatatype.CNAME)
        if alias is None:
            return name, ttl, None
        name, ttl = alias[0].target, min(ttl, alias.ttl)
        if name in seen or len(seen) > MAX_ALIASES:
            raise ServerUnusable("a loop of aliases")
        seen.add(name)


def _rrset(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    for rrset in message.answer:
        if rrset.rdtype == rdtype and rrset.name == name and len(rrset):
            return rrset
    return None


def _soa(message: dns.message.Message) -> dns.rrset.RRset | None:
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and len(rrset):
            return rrset
    return None


def _negative_ttl(message: dns.message.Message) -> int:
    """RFC 2308 §5: the SOA's own TTL or its last field, the lesser; without SOA no caching."""
    soa = _soa(message)
    if soa is None:
        return 0
    data = soa[0]
    assert isinstance(data, SOA)
    return max(1, min(soa.ttl, data.minimum, MAX_NEGATIVE_TTL_S))


def _record(rdata: object) -> Record:
    if isinstance(rdata, MX):
        return Mx(rdata.preference, _text(rdata.exchange))
    return str(rdata)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removesuffix(".")


def _bounded(ttl: int) -> int:
    return max(1, min(ttl, MAX_TTL_S))
