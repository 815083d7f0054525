"""The head of an arriving message: read once, when it is there, and completed.

On top goes ``Received:``, and on submission what is missing of the header (RFC 6409 §8).  The
policy is asked about the author.  What the rest of the program wants to know of the header is
found here and stays here.

Looks at the first chunk of a message and no further.
"""

from mta.inbound.authorship import owned
from mta.inbound.gate import Passage, Rulings
from mta.inbound.settings import InboundSettings
from mta.inbound.verification import HEADER_TOO_LONG, Verification
from mta.mail import headers
from mta.mail.envelope import Origin
from mta.mail.queue_id import QueueId
from mta.smtp.replies import Reply, reply

TOO_MANY_HOPS = reply(554, "5.4.6", "Too many Received fields: the message is in a loop")


class Head:
    """One message's."""

    def __init__(  # noqa: PLR0913 - all that is known of a message before its content
        self,
        settings: InboundSettings,
        passage: Passage,
        rulings: Rulings,
        origin: Origin,
        id: QueueId,
        created_ms: int,
        *,
        submission: bool,
        highest: int | None,
        verification: Verification | None,
    ) -> None:
        """``submission``, ``highest`` and ``verification`` are as ``Transaction`` has them."""
        self.message_id = ""
        self.utf8 = self.tls_not_required = False
        self.priority: int | None = None  # what a field of the header asks for, and may
        self.refusal: Reply | None = None
        self.reason = ""  # what the client is not told
        self.received = 0  # octets of our ``Received:``, on top
        self._settings = settings
        self._passage = passage
        self._rulings = rulings
        self._origin = origin
        self._id = id
        self._created_ms = created_ms
        self._submission = submission
        self._highest = highest
        self._verification = verification

    def completed(self, pieces: list[bytes], only: str, *, complete: bool) -> list[bytes]:
        """Return the first pieces of the message with our lines on top.

        ``only`` is the recipient, if there is but one; ``complete``: the pieces are all that
        there is of the message.  ``refusal`` says whether it can go on.
        """
        # The header is nearly always whole in the first piece.
        whole = len(pieces) == 1 or b"\r\n\r\n" in pieces[0]
        block = pieces[0] if whole else b"".join(pieces)
        header = headers.scan(block)
        if self._verification is not None:
            block = self._verified(self._verification, block, header, complete=complete)
        if header.has_priority and self._settings.requests.priority is not None:
            block = self._without_priority(block, header.end)
        if self._passage.checks_author():
            block = self._owned(block, complete=complete)
        return [self._trace(header, only), block, *(pieces[1:] if whole else ())]

    def reread(self, block: bytes) -> None:
        """Note what the header says now that filters have changed it."""
        header = headers.scan(block)
        self.message_id = header.message_id
        self.utf8 = header.utf8
        self.tls_not_required = header.tls_not_required

    def _verified(
        self, verification: Verification, block: bytes, header: headers.Header, *, complete: bool
    ) -> bytes:
        """Have the message verified as it came; what is forged in our name does not go on."""
        kept = verification.begin(block, header.end, self._created_ms / 1000, complete=complete)
        if kept is None:
            self.refusal, self.reason = HEADER_TOO_LONG, "the header is too long to be verified"
            return block
        header.end -= len(block) - len(kept)
        return kept

    def _without_priority(self, block: bytes, end: int) -> bytes:
        """Take the priority out of the header: it goes on with the envelope (RFC 6758 §4)."""
        rest, priority = headers.take_priority(block, end)
        if priority is not None and self._highest is not None:
            self.priority = min(priority, self._highest)
        return rest

    def _owned(self, block: bytes, *, complete: bool) -> bytes:
        block, refused = owned(block, self._passage, self._rulings, complete=complete)
        if refused is not None:
            self.refusal, self.reason = refused
        return block

    def _trace(self, header: headers.Header, only: str) -> bytes:
        """Note what the header says and return what goes on top of it."""
        if header.hops >= self._settings.limits.hops:
            self.refusal = TOO_MANY_HOPS
        self.message_id = header.message_id
        self.utf8 = header.utf8
        self.tls_not_required = header.tls_not_required
        host_name = self._settings.host_name
        lines = headers.received(self._origin, host_name, self._id, only, self._created_ms)
        self.received = len(lines)
        if self._submission:
            lines += headers.missing_fields(header, host_name, self._id, self._created_ms)
            if not header.has_message_id:
                self.message_id = headers.new_message_id(host_name, self._id)
        return lines
