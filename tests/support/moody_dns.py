"""A name server that is dead, slow or lying on demand: ``StubDns`` with moods."""

import random
import time

import dns.message
import dns.rcode
import dns.rrset
from stub_dns import StubDns, Zone

MOODS = ("well", "dead", "slow", "failing", "lying", "false")
EVIL = "127.0.0.3"  # where lies lead to


class MoodyDns(StubDns):
    """``mood`` may be changed at any moment; see ``MOODS``."""

    def __init__(self, zone: Zone) -> None:
        self.mood = "well"
        self.told: int = 0  # answers given in a mood that was not "well"
        self._dice = random.Random(20261125)
        super().__init__(zone)

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            for answer in self._answers(data):
                self._socket.sendto(answer, client)

    def _answers(self, data: bytes) -> list[bytes]:
        query = dns.message.from_wire(data)
        if self.mood == "well":
            return [self._answer(query).to_wire()]
        self.told += 1
        if self.mood == "dead":
            return []
        if self.mood == "slow":
            time.sleep(0.3)
            return [self._answer(query).to_wire()]
        if self.mood == "failing":
            reply = dns.message.make_response(query)
            reply.set_rcode(self._dice.choice((dns.rcode.SERVFAIL, dns.rcode.REFUSED)))
            return [reply.to_wire()]
        return (
            [self._false(query).to_wire(max_size=65_535)]
            if self.mood == "false"
            else self._lies(query)
        )

    def _false(self, query: dns.message.Message) -> dns.message.Message:
        """Answer in perfect form what is not true, or not what was asked."""
        name, reply = query.question[0].name, dns.message.make_response(query)
        lie = self._dice.choice(("other name", "circle", "too many", "on top", "chain"))
        if lie == "other name":
            self._add(reply.answer, "elsewhere.test.", "MX", "0 mx.evil.test.")
            self._add(reply.answer, "mx.elsewhere.test.", "A", EVIL)
        elif lie == "circle":
            self._add(reply.answer, str(name), "CNAME", f"round.{name}")
            self._add(reply.answer, f"round.{name}", "CNAME", str(name))
        elif lie == "chain":
            for number in range(100):
                self._add(reply.answer, f"c{number}.{name}" if number else str(name), "CNAME",
                          f"c{number + 1}.{name}")  # fmt: skip
            self._add(reply.answer, "mx.evil.test.", "A", EVIL)
        elif lie == "too many":
            hosts = [f"{number} h{number}.evil.test." for number in range(300)]
            self._add(reply.answer, "somebody.test.", "MX", *hosts)
        else:
            reply = self._answer(query)
        for host in ("mx.there.test.", "there.test.", "mx.evil.test."):
            self._add(reply.additional, host, "A", EVIL)
        return reply

    @staticmethod
    def _add(section: list[dns.rrset.RRset], name: str, kind: str, *values: str) -> None:
        section.append(dns.rrset.from_text(name, 60, "IN", kind, *values))

    def _lies(self, query: dns.message.Message) -> list[bytes]:
        """What a stranger on the way, or a broken server, might send: all of it untrue."""
        name = query.question[0].name
        forged = dns.message.make_response(query)
        forged.id = query.id ^ 0x5555
        forged.set_rcode(dns.rcode.NXDOMAIN)
        other = dns.message.make_response(dns.message.make_query("elsewhere.test", "MX"))
        other.id = query.id
        other.set_rcode(dns.rcode.NXDOMAIN)
        circle = dns.message.make_response(query)
        circle.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "round." + str(name)))
        circle.answer.append(
            dns.rrset.from_text("round." + str(name), 60, "IN", "CNAME", str(name))
        )
        return [self._dice.randbytes(40), forged.to_wire(), other.to_wire(), circle.to_wire()[:-7]]
