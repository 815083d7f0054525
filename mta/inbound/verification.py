"""SPF, DKIM and DMARC of one message that arrives, and the field that tells (RFC 8601).

The results are known when the last octet has come, and stand on top.  So what comes before
the body is held back as the *head*, as for a signature of ours (``signature``).  Such a message
is never signed by us: it would give whoever claims to be one of ours our word for it.

Results in our name that the message brings along are taken out of its header; the
signatures are verified over the header as it came.
"""

from mta.inbound.gate import Rulings
from mta.mail.envelope import Origin
from mta.policy.decision import Action, hold
from mta.smtp.replies import Reply, reply
from mta.spool.intake import Remark
from mta.verify.dmarc_record import Policy
from mta.verify.forged import without_forged
from mta.verify.message import Client, Findings, Message, Verifier
from mta.verify.results import authentication_results
from mta.verify.settings import VerifySettings

HEADER_TOO_LONG = reply(552, "5.3.4", "The header of the message is too long")
NOT_AUTHENTIC = reply(
    550, "5.7.26", "Refused, as the domain in its From field asks for: neither SPF nor DKIM pass"
)
SEVERAL_AUTHORS = reply(
    550, "5.7.26", "Refused, as From must be there once and name authors of one domain"
)


class Unwelcome(Exception):
    """The message is refused; the text is the reason, ``reply`` for the client."""

    def __init__(self, answer: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = answer


class Verification:
    """Sees the chunks of one message as they are made."""

    def __init__(
        self,
        verifier: Verifier,
        settings: VerifySettings,
        origin: Origin,
        sender: str,
        rulings: Rulings,
    ) -> None:
        self.head = b""  # held back; what is on top of the message in the end
        self._verifier = verifier
        self._settings = settings
        self._client = Client(origin.client_address, sender, origin.client_name)
        self._rulings = rulings
        self._message: Message | None = None
        self._divided = False  # the head is held, what comes is body

    def begin(self, block: bytes, end: int, now_s: float, *, complete: bool) -> bytes | None:
        """Take the header, ``end`` octets of the message's first block.

        Return the block as it may go on; None if the header does not end where it should.
        """
        header = block[:end]
        if not complete and block[end : end + 2] != b"\r\n":
            return None  # who knows what stands further down
        self._message = self._verifier.begin(self._settings, self._client, header, now_s)
        kept, forged = without_forged(header, self._settings.authserv_id)
        if forged:
            text = f"{forged} Authentication-Results in our name"
            self._rulings.remarks.append(Remark("removed", text, "verify"))
            return kept + block[end:]
        return block

    def see(self, chunk: bytes, *, last: bool) -> bytes:
        """Take the next chunk, and return what may go to the spool of it."""
        assert self._message is not None
        if self._divided:
            self._message.feed(chunk)
            return chunk
        self._divided = True
        end = chunk.find(b"\r\n\r\n")
        body = len(chunk) if end < 0 else end + 4
        self._message.feed(chunk[body:])
        if last:
            return chunk
        self.head = chunk[:body]
        return chunk[body:]

    async def make(self) -> bytes:
        """Return the field with the results.  Raises ``Unwelcome``."""
        assert self._message is not None
        findings = await self._message.findings()
        self._rulings.remarks.append(Remark("verified", str(findings), "verify"))
        self._obey(findings)
        return authentication_results(self._settings.authserv_id, findings.results)

    def cancel(self) -> None:
        """The message is not accepted: nobody wants to know."""
        if self._message is not None:
            self._message.cancel()

    def _obey(self, findings: Findings) -> None:
        settings = self._settings
        if findings.ambiguous:  # or a second author would be a way round everybody's policy
            self._act(settings.on_reject, SEVERAL_AUTHORS, f"no DMARC: {findings.ambiguous}")
            return
        action = {
            Policy.REJECT: settings.on_reject,
            Policy.QUARANTINE: settings.on_quarantine,
        }.get(findings.wish, Action.ACCEPT)
        reason = f"DMARC fails, and the policy is {findings.wish}: {findings}"
        self._act(action, NOT_AUTHENTIC, reason)

    def _act(self, action: Action, refusal: Reply, reason: str) -> None:
        if action is Action.REFUSE:
            raise Unwelcome(refusal, reason)
        if action is Action.HOLD:
            self._rulings.obey(hold(reason))
