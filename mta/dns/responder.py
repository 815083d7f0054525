"""A tiny authoritative name server, for test beds and the demonstration.

It knows one zone, given as a mapping, and tells "no such name" from "no such record"
rightly, with an SOA.  On request it misbehaves: late, silent, failing, truncating.  It is
no name server for the world: no delegation, no transfer, no DNSSEC, one thread, no limits.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from mta.dns.exchange import Reactor

Zone = Mapping[str, Sequence[tuple[str, str]]]

_ALIASES = 8  # followed within the zone for one answer
_TRIES = 10  # to find a number that is free for both transports


@dataclass(frozen=True, slots=True)
class Manner:
    """How a name is answered when it is not simply answered."""

    delay_s: float = 0.0
    rcode: str = "NOERROR"  # "SERVFAIL", "REFUSED", ...
    truncate: bool = False  # over UDP: come back with TCP
    silent: bool = False


_PLAIN = Manner()


class Responder:
    """Answers for ``zone``: name -> list of (type, text), as in a zone file.

    Relative names do not exist: every name is meant from the root, with or without the
    final dot.  ``asked`` is the list of the questions so far, as (name, type, "udp"/"tcp").
    """

    def __init__(
        self,
        zone: Zone,
        *,
        manners: Mapping[str, Manner] | None = None,
        ttl_s: int = 60,
        negative_ttl_s: int = 30,
        authenticated: bool = False,
    ) -> None:
        """``manners`` is by name.  ``authenticated`` sets AD as a validating server would."""
        self.asked: list[tuple[str, str, str]] = []
        self.manners = {_name(name): manner for name, manner in (manners or {}).items()}
        self.authenticated = authenticated
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._ports: list[Any] = []
        self.use(zone)

    def use(self, zone: Zone) -> None:
        """Answer for ``zone`` from now on.  Raises ``ValueError`` for a bad record."""
        records: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rrset.RRset]] = {}
        for name, lines in zone.items():
            owner = _name(name)
            for kind, text in lines:
                rdata = _rdata(kind, text)
                rrset = records.setdefault(owner, {}).setdefault(
                    rdata.rdtype, dns.rrset.RRset(owner, rdata.rdclass, rdata.rdtype)
                )
                rrset.add(rdata, self._ttl_s)
        self._records = records
        # RFC 8020: a name exists if anything below it does
        self._names = {parent for name in records for parent in _and_parents(name)}

    def listen(self, reactor: Reactor, interface: str, port: int) -> int:
        """Listen on UDP and TCP; return the port, which is the system's choice for 0."""
        for tries in range(_TRIES):
            tcp = reactor.listenTCP(port, _StreamFactory(self, reactor), interface=interface)
            number: int = tcp.getHost().port
            try:
                udp = reactor.listenUDP(number, _Datagrams(self, reactor), interface=interface)
            except CannotListenError:  # free for TCP, but not for UDP
                tcp.stopListening()
                if port or tries == _TRIES - 1:
                    raise
            else:
                self._ports += [tcp, udp]
                break
        return number

    def stop(self) -> list[Any]:
        """Stop listening; return a Deferred for each socket."""
        ports, self._ports = self._ports, []
        return [port.stopListening() for port in ports]

    def answer(self, data: bytes, transport: str) -> tuple[bytes, float] | None:
        """Return the reply to a message and the seconds to wait with it; None for silence."""
        try:
            query = dns.message.from_wire(data)
            question = query.question[0]
        except Exception:  # a test bed's server has nothing to say to garbage
            return None
        self.asked.append(
            (
                question.name.to_text(omit_final_dot=True).lower(),
                dns.rdatatype.to_text(question.rdtype),
                transport,
            )
        )
        manner = self.manners.get(question.name, _PLAIN)
        if manner.silent:
            return None
        reply = self._reply(query, manner, transport)
        limit = max(query.payload, 512) if transport == "udp" else 65_535
        return _fitting(reply, limit), manner.delay_s

    def _reply(
        self, query: dns.message.Message, manner: Manner, transport: str
    ) -> dns.message.Message:
        reply = dns.message.make_response(query)
        if manner.rcode != "NOERROR":
            reply.set_rcode(dns.rcode.from_text(manner.rcode))
            return reply
        reply.flags |= dns.flags.AA | dns.flags.RA
        if manner.truncate and transport == "udp":
            reply.flags |= dns.flags.TC
            return reply
        if self.authenticated:
            reply.flags |= dns.flags.AD
        self._fill(reply, query.question[0].name, query.question[0].rdtype)
        return reply

    def _fill(
        self, reply: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> None:
        for _ in range(_ALIASES):
            records = self._records.get(name, {})
            found = records.get(rdtype)
            if found is not None:
                reply.answer.append(found)
                return
            alias = records.get(dns.rdatatype.CNAME)
            if alias is None:
                self._nothing(reply, name)
                return
            reply.answer.append(alias)
            target: Any = alias[0]
            name = target.target

    def _nothing(self, reply: dns.message.Message, name: dns.name.Name) -> None:
        if name not in self._names:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        text = f"ns.invalid. hostmaster.invalid. 1 3600 600 86400 {self._negative_ttl_s}"
        owner = dns.name.Name(name.labels[-2:])
        reply.authority.append(
            dns.rrset.from_rdata(owner, self._negative_ttl_s, _rdata("SOA", text))
        )


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, responder: Responder, reactor: Reactor) -> None:
        self._responder = responder
        self._reactor = reactor

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answered = self._responder.answer(datagram, "udp")
        if answered is not None:
            reply, delay_s = answered
            self._reactor.callLater(delay_s, self._send, reply, addr)

    def _send(self, reply: bytes, addr: Any) -> None:
        if self.transport is not None and self.transport.connected:  # type: ignore[attr-defined]
            self.transport.write(reply, addr)


class _Stream(Protocol):
    def __init__(self, responder: Responder, reactor: Reactor) -> None:
        self._responder = responder
        self._reactor = reactor
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[2:end], self._buffer[end:]
            answered = self._responder.answer(message, "tcp")
            if answered is not None:
                reply, delay_s = answered
                self._reactor.callLater(delay_s, self._send, reply)

    def _send(self, reply: bytes) -> None:
        if self.transport is not None:
            self.transport.write(struct.pack("!H", len(reply)) + reply)


class _StreamFactory(Factory):
    noisy = False

    def __init__(self, responder: Responder, reactor: Reactor) -> None:
        self._responder = responder
        self._reactor = reactor

    def buildProtocol(self, addr: Any) -> _Stream:
        return _Stream(self._responder, self._reactor)


def _fitting(reply: dns.message.Message, limit: int) -> bytes:
    """RFC 1035 §4.2.1, RFC 2181 §9: what does not fit is left out, and TC says so."""
    try:
        return reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.flags |= dns.flags.TC
        reply.answer, reply.authority = [], []
        return reply.to_wire(max_size=limit)


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.lower())


def _and_parents(name: dns.name.Name) -> Iterable[dns.name.Name]:
    while name != dns.name.root:
        yield name
        name = name.parent()


def _rdata(kind: str, text: str) -> dns.rdata.Rdata:
    try:
        rdtype = dns.rdatatype.from_text(kind)
        return dns.rdata.from_text(
            dns.rdataclass.IN, rdtype, text, origin=dns.name.root, relativize=False
        )
    except dns.exception.DNSException as error:
        raise ValueError(f"{kind} {text}: {error}") from error
