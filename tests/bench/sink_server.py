"""A receiving host that throws everything away and says how old it was.

Each message with an ``X-Sent:`` header (nanoseconds of CLOCK_MONOTONIC, by
``client.py``) gives ``age=NANOSECONDS``; all of them move the counter ``mesg=``, in the
form that smtp-sink prints; ``signed=`` counts those with a DKIM signature.  It checks
nothing.  With a certificate and its key as third and fourth argument it offers STARTTLS.
"""

import asyncio
import re
import ssl
import sys
import time

_SENT = re.compile(rb"^X-Sent: (\d+)", re.M)
_SIGNED = re.compile(rb"^DKIM-Signature:", re.M | re.I)
_REPLIES = {
    b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}
_HEADER_ROOM = 16384
_OFFER = b"250 ENHANCEDSTATUSCODES\r\n"


class Receiver(asyncio.Protocol):
    """One connection."""

    received = signed = 0
    context: ssl.SSLContext | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        self._head = b""
        self._in_data = self._secure = self._switching = False
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and not self._switching:
            if not (self._take_body() if self._in_data else self._take_command()):
                return

    def _take_command(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            return False
        self._buffer = rest
        verb = line[:4].upper()
        answer = _REPLIES.get(verb, b"250 2.0.0 ok\r\n")
        if verb == b"STAR":
            self._transport.pause_reading()  # what comes next is not for us to read
            self._switching = True
            self._transport.write(b"220 2.0.0 go\r\n")
            self._task = asyncio.ensure_future(self._start_tls())
            return False
        if verb == b"EHLO" and self.context and not self._secure:
            answer = answer.replace(_OFFER, b"250-STARTTLS\r\n" + _OFFER)
        self._transport.write(answer)
        self._in_data, self._head = verb == b"DATA", b""
        if verb == b"QUIT":
            self._transport.close()
        return True

    async def _start_tls(self) -> None:
        assert self.context is not None
        loop = asyncio.get_running_loop()
        secure = await loop.start_tls(self._transport, self, self.context, server_side=True)
        assert isinstance(secure, asyncio.Transport)
        self._transport, self._secure, self._switching = secure, True, False
        self.data_received(b"")  # what came before this was known

    def _take_body(self) -> bool:
        end = self._buffer.find(b"\r\n.\r\n")
        if len(self._head) < _HEADER_ROOM:
            self._head += self._buffer[:_HEADER_ROOM]
        if end < 0:
            self._buffer = self._buffer[-4:]
            return False
        self._buffer = self._buffer[end + 5 :]
        self._in_data = False
        self._transport.write(b"250 2.0.0 ok\r\n")
        self._count()
        return True

    def _count(self) -> None:
        Receiver.received += 1
        sent = _SENT.search(self._head)
        age = f"age={time.monotonic_ns() - int(sent[1])} " if sent else ""
        if _SIGNED.search(self._head):
            Receiver.signed += 1
        print(f"{age}signed={Receiver.signed} mesg={Receiver.received}", flush=True)


async def main() -> None:
    """Serve until killed."""
    host, port, *pair = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    if pair:
        Receiver.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        Receiver.context.load_cert_chain(*pair)
    server = await asyncio.get_running_loop().create_server(Receiver, host, port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
