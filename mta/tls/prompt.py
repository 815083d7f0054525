"""A TLS layer under a server's sessions that writes at once, and what belongs together as one.

Twisted's hands each record to the connection, which asks the kernel whether it may write, comes
round the loop, writes, and takes the question back (``mta.tcp``).  Here what is said in answer to
octets that have come, and the end of the session with it, is one write, made at once: otherwise
Nagle's algorithm would hold back what follows a first small write.

Knows three methods of Twisted's layer by their private names; tests hold them to what they do.
"""

from OpenSSL.SSL import WantReadError
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from mta.tcp import write_now

_MOST = 2**15  # octets read from the layer at once


class PromptTls(TLSMemoryBIOProtocol):
    """For ``TLSMemoryBIOFactory.protocol``."""

    _joining = False  # octets that have come are being looked at: what is said waits for the rest

    def dataReceived(self, bytes: bytes) -> None:
        """Take octets from the wire; answer with one write."""
        self._joining = True
        try:
            super().dataReceived(bytes)  # type: ignore[no-untyped-call]
        finally:
            if self._joining:
                self._joining = False
                self._flushSendBIO()

    def _shutdownTLS(self) -> None:
        self._joining = False
        super()._shutdownTLS()  # type: ignore[no-untyped-call]

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._joining = False
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]

    def _flushSendBIO(self) -> None:
        connection = self._tlsConnection
        if self._joining or connection is None:
            return
        octets = b" " * _MOST
        while len(octets) == _MOST:
            try:
                octets = connection.bio_read(_MOST)
            except WantReadError:  # there is nothing
                return
            write_now(self.transport, octets)
