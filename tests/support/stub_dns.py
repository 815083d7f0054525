"""An authoritative name server on loopback, in a thread, for tests with real sockets."""

import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]


class StubDns:
    """Answers from ``zone``: ("example.org", "MX") -> ["10 mx.example.org."].

    What is at or below a name in ``signed`` is said to be authentic, what is below one in ``bogus``
    gets SERVFAIL.
    """

    def __init__(
        self,
        zone: Zone,
        signed: Iterable[str] = (),
        bogus: Iterable[str] = (),
        *,
        address: str = "127.0.0.1",
    ) -> None:
        self.zone = dict(zone)
        self.signed, self.bogus = set(signed), set(bogus)
        self.queries: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._address, self.port = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            self._socket.sendto(self._answer(dns.message.from_wire(data)).to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        texts = self.zone.get((name, kind))
        if texts:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
        elif not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if any(f".{name}".endswith(f".{one}") for one in self.signed):
            response.flags |= dns.flags.AD
        if any(f".{name}".endswith(f".{one}") for one in self.bogus):
            response.set_rcode(dns.rcode.SERVFAIL)
        return response

    def close(self) -> None:
        self._socket.sendto(b"", (self._address, self.port))
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> "StubDns":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()
