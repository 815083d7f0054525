"""The signature of one message that is arriving (RFC 6376).

Until the last octet has been hashed the signature is unknown, and it stands on top.  So what
comes before the body (our own lines and the header, some KiB) is held back as the *head*,
and goes to the spool with the transaction that accepts the message; chunks of the body
are stored meanwhile, numbered from 1.

A message that must not be signed (two From fields) or cannot (a header of more than 64 KiB)
goes unsigned, and the log says so: its recipients decide.
"""

from mta.dkim.sign import NotSigned, Signing, header_incomplete
from mta.dkim.signer import Signer
from mta.mail.events import Emit, Note


class Signature:
    """Sees the chunks of one message as they are made."""

    def __init__(self, signer: Signer, message_id: str, created_ms: int, emit: Emit) -> None:
        self.head = b""  # held back; what is on top of the message in the end
        self._signer = signer
        self._message_id = message_id
        self._created_ms = created_ms
        self._emit = emit
        self._begun = False
        self._signing: Signing | None = None

    def see(self, chunk: bytes, *, last: bool) -> bytes:
        """Take the next chunk, and return what may go to the spool of it.

        ``last``: nothing follows; then all of a message that was never divided stays whole.
        """
        if self._begun:
            if self._signing is not None:
                self._signing.feed(chunk)
            return chunk
        if self.head:
            chunk, self.head = self.head + chunk, b""
        if not last and header_incomplete(chunk):
            self.head = chunk
            return b""
        self._begun = True
        at_s = self._created_ms / 1000
        try:
            begun = self._signer.rules.begin(chunk, at_s, whole=last)
        except NotSigned as error:
            self._emit(Note("warning", "dkim", f"{self._message_id} is not signed: {error}"))
            return chunk
        if begun is None:
            return chunk
        self._signing, body = begun
        if last:
            return chunk
        self.head = chunk[:body]
        return chunk[body:]

    async def make(self) -> bytes:
        """Return the DKIM-Signature fields; b"" if the message is not signed."""
        if self._signing is None:
            return b""
        return await self._signer.sign(self._signing)
