"""The head of an arriving message: read once, when it is there, and completed.

On top goes ``Received:``, and on submission what is missing of the header (RFC 6409 §8); what
new mail must not have goes, or is a reason to refuse it.  The policy is asked about the author.
What the rest of the program wants to know of the header is found here and stays here.

Bounded: a header is seen whole or refused, so the first chunk waits until it is there.
"""

from mta.inbound.authorship import owned
from mta.inbound.gate import Passage, Rulings
from mta.inbound.settings import InboundSettings
from mta.inbound.verification import HEADER_TOO_LONG, Verification
from mta.mail import author, completion, headers
from mta.mail.envelope import Origin
from mta.mail.queue_id import QueueId
from mta.smtp.framing import has_bare_line_end
from mta.smtp.replies import Reply, reply
from mta.spool.intake import Remark
from mta.verify.forged import without_forged

# RFC 6409 §6.3: 554 for what is wrong with the syntax of new mail
TOO_MANY_HOPS = reply(554, "5.4.6", "Too many Received fields: the message is in a loop")
NO_AUTHOR = reply(554, "5.6.0", "The message has no From field")
NO_LINES = reply(554, "5.6.0", "The header of the message has a bare CR or LF, or a NUL, in it")


class Head:
    """One message's."""

    def __init__(  # noqa: PLR0913 - all that is known of a message before its content
        self,
        settings: InboundSettings,
        passage: Passage,
        rulings: Rulings,
        origin: Origin,
        sender: str,
        id: QueueId,
        created_ms: int,
        *,
        submission: bool,
        highest: int | None,
        verification: Verification | None,
        priority: int | None = None,
        outside: bool = False,
        binary: bool = False,
    ) -> None:
        """All but ``id`` and ``priority`` are as ``Transaction`` has them.

        ``priority``: what MAIL asked for; ``binary``: lines may end as they like.
        """
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
        self._sender = sender
        self._id = id
        self._created_ms = created_ms
        self._submission, self._outside = submission, outside
        self._binary = binary
        self._highest = highest
        self._asked_priority = priority
        self._verification = verification
        self._searched = 0  # so far there is no end of the header
        self._added = b""  # fields that name the sender

    def awaited(self, block: bytes) -> bool:
        """Tell whether the header, with which the message begins, is still to end, and may."""
        start, self._searched = self._searched, max(0, len(block) - 3)
        return (
            len(block) <= self._settings.limits.header_size
            and headers.well_begun(block)
            and block.find(b"\r\n\r\n", start) < 0
        )

    def completed(self, pieces: list[bytes], only: str, *, complete: bool) -> list[bytes]:
        """Return the first pieces of the message with our lines on top.

        ``only`` is the recipient, if there is but one; ``complete``: the pieces are all that
        there is of the message.  ``refusal`` says whether it can go on.
        """
        # The header is nearly always whole in the first piece.
        whole = len(pieces) == 1 or b"\r\n\r\n" in pieces[0]
        block = pieces[0] if whole else b"".join(pieces)
        header = headers.scan(block)
        limit = self._settings.limits.header_size
        if header.end > limit and header.well_begun:
            text = f"The header of the message is larger than the {limit} octets allowed here"
            self._refuse(reply(552, "5.3.4", text), "header size")
        if self._binary and (self._submission or self._passage.checks_author()):
            self._check_lines(block[: header.end])
        if self._submission:  # first, as places in the block still are where they were
            self._name_author(block, header)
        if self._verification is not None:
            block = self._verified(self._verification, block, header, complete=complete)
        elif (self._submission or self._outside) and _may_have_results(block, header):
            block = self._without_forged(block, header, complete=complete)
        if b"mt-priority" in header.names and self._settings.requests.priority is not None:
            block = self._without_priority(block, header.end)
        if self._passage.checks_author() and not self._added.startswith(b"From"):
            block = self._owned(block, complete=complete)
        if self._submission:
            block = self._as_new(block, header)
        top = self._trace(header, only)
        if not self._submission and block[:1] in (b" ", b"\t"):
            top += b"\r\n"  # it has no header, and its first line is not to continue ours
        return [top, block, *(pieces[1:] if whole else ())]

    def reread(self, block: bytes) -> None:
        """Note what the header says now that filters have changed it."""
        header = headers.scan(block)
        self.message_id = header.message_id
        self.utf8 = header.utf8
        self.tls_not_required = header.tls_not_required

    def _refuse(self, answer: Reply, reason: str) -> None:
        if self.refusal is None:
            self.refusal, self.reason = answer, reason

    def _check_lines(self, header: bytes) -> None:
        """Refuse a header that other readers divide into other fields than we do.

        BINARYMIME is about what a body may have in it (RFC 3030 §3).
        """
        if has_bare_line_end(header) or b"\0" in header:
            self._refuse(NO_LINES, "bare CR or LF, or NUL, in the header")

    def _name_author(self, block: bytes, header: headers.Header) -> None:
        """Make up From or Sender; nobody can be made of the null sender."""
        if header.author_at < 0 or not header.well_begun:
            if not self._settings.submission.add_author:
                self._refuse(NO_AUTHOR, "no From field")
            elif self._sender:
                self._added = completion.author("From", self._sender)
        elif (
            self._sender
            and b"sender" not in header.names
            and author.several(block, header.author_at)
        ):
            self._added = completion.author("Sender", self._sender)

    def _as_new(self, block: bytes, header: headers.Header) -> bytes:
        """Take out of new mail what it must not have, or refuse it."""
        settings = self._settings.submission
        done = [f"{self._added.partition(b':')[0].decode()} added"] if self._added else []
        name = completion.repeated(header.names) if header.well_begun else ""
        if name and settings.refuse_repeated:
            text = f"The message has more than one {name} field, where RFC 5322 allows one"
            self._refuse(reply(554, "5.6.0", text), f"several {name} fields")
        if completion.has_hidden(header.names):
            block = completion.without_hidden(block, headers.end_of(block))
            done.append("Bcc removed")
        if done:
            self._rulings.remarks.append(Remark("header", ", ".join(done), "submission"))
        return block

    def _verified(
        self, verification: Verification, block: bytes, header: headers.Header, *, complete: bool
    ) -> bytes:
        """Have the message verified as it came; what is forged in our name does not go on."""
        kept = verification.begin(block, header.end, self._created_ms / 1000, complete=complete)
        if kept is None:
            self._refuse(HEADER_TOO_LONG, "the header is too long to be verified")
            return block
        header.end -= len(block) - len(kept)
        return kept

    def _without_forged(self, block: bytes, header: headers.Header, *, complete: bool) -> bytes:
        """Take out results that claim to be ours (RFC 8601 §5), where nothing is verified.

        New mail without a header gets one of its own above it, and is text from its first line.
        """
        if self._submission and not header.well_begun:
            return block
        if not complete and block[header.end : header.end + 2] != b"\r\n":
            self._refuse(HEADER_TOO_LONG, "the header is too long to be searched")
            return block
        settings = self._settings
        name = settings.authserv_id or settings.host_name
        kept, forged = without_forged(block[: header.end], name)
        if forged:
            text = f"{forged} Authentication-Results in our name"
            who = "submission" if self._submission else "verify"
            self._rulings.remarks.append(Remark("removed", text, who))
        rest = block[header.end :]
        header.end = len(kept)
        return kept + rest

    def _without_priority(self, block: bytes, end: int) -> bytes:
        """Take the priority out of the header: it goes on with the envelope (RFC 6758 §4)."""
        rest, priority = headers.take_priority(block, end)
        if priority is not None and self._highest is not None:
            self.priority = min(priority, self._highest)
        return rest

    def _owned(self, block: bytes, *, complete: bool) -> bytes:
        block, refused = owned(block, self._passage, self._rulings, complete=complete)
        if refused is not None:
            self._refuse(*refused)
        return block

    def _trace(self, header: headers.Header, only: str) -> bytes:
        """Note what the header says and return what goes on top of it."""
        if header.hops >= self._settings.limits.hops:
            self._refuse(TOO_MANY_HOPS, "content")
        self.message_id = header.message_id
        self.utf8 = header.utf8 or not self._added.isascii()
        self.tls_not_required = header.tls_not_required
        host_name = self._settings.host_name
        lines = headers.received(
            self._origin, host_name, self._id, only, self._created_ms, self._asked_priority
        )
        self.received = len(lines)
        if self._submission:
            lines += self._added
            lines += headers.missing_fields(header, host_name, self._id, self._created_ms)
            if not (header.well_begun and b"message-id" in header.names):
                self.message_id = headers.new_message_id(host_name, self._id)
        return lines


def _may_have_results(block: bytes, header: headers.Header) -> bool:
    """Tell whether a closer look is worth it.

    A lone CR (BINARYMIME) may hide a field's name, and a header without an end more of it.
    """
    end = header.end
    hidden = block.count(b"\r", 0, end) != block.count(b"\n", 0, end)
    return hidden or end == len(block) or b"authentication-results" in header.names
