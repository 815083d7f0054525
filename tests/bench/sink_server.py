"""A receiving host that throws everything away and says how old it was.

Each message with an ``X-Sent:`` header (nanoseconds of CLOCK_MONOTONIC, by
``client.py``) gives ``age=NANOSECONDS``; all of them move the counter ``mesg=``, in the
form that smtp-sink prints.  It checks nothing.
"""

import asyncio
import re
import sys
import time

_SENT = re.compile(rb"^X-Sent: (\d+)", re.M)
_REPLIES = {
    b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}
_HEADER_ROOM = 16384


class Receiver(asyncio.Protocol):
    """One connection."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        self._head = b""
        self._in_data = False
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if not (self._take_body() if self._in_data else self._take_command()):
                return

    def _take_command(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            return False
        self._buffer = rest
        verb = line[:4].upper()
        self._transport.write(_REPLIES.get(verb, b"250 2.0.0 ok\r\n"))
        self._in_data, self._head = verb == b"DATA", b""
        if verb == b"QUIT":
            self._transport.close()
        return True

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
        print(f"{age}mesg={Receiver.received}", flush=True)


async def main() -> None:
    """Serve until killed."""
    host, port = sys.argv[1], int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Receiver, host, port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
