"""TLS connections of clients that keep no more memory than one record needs.

What comes from the network goes through a memory BIO of OpenSSL's, which grows and never shrinks:
a client that has sent one large message would hold four thirds of what the socket gave at once,
87 KB, as long as it is connected.  Here the octets go in by pieces, the next when the last is
used up, and 22 KB stay.

Trusts: that whoever writes here reads until ``WantReadError``, as Twisted's TLS layer does.
"""

from typing import Any

from OpenSSL import SSL

PIECE = 16 * 1024  # octets: a record, nearly


class FrugalConnection(SSL.Connection):
    """A server's connection without a socket."""

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context, None)
        self._rest = b""  # received, not yet in the BIO

    def bio_write(self, buf: Any) -> int:
        """Take octets from the network."""
        if self._rest:
            self._rest += buf
        elif len(buf) <= PIECE:
            super().bio_write(buf)
        else:
            self._rest = buf
            self._feed()
        return len(buf)

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """Return octets of the client's.  Raises ``WantReadError`` when there are no more."""
        while True:
            try:
                return super().recv(bufsiz, flags)
            except SSL.WantReadError:
                if not self._rest:
                    raise
            self._feed()

    def do_handshake(self) -> None:
        """Go on with the handshake.  Raises ``WantReadError`` when more must come."""
        while True:
            try:
                return super().do_handshake()
            except SSL.WantReadError:
                if not self._rest:
                    raise
            self._feed()

    def _feed(self) -> None:
        piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
        super().bio_write(piece)
