"""How one report goes out: by mail through our own queue, by POST to an HTTPS server (RFC 8460 §5).

Mail is signed (§3: reports without a DKIM signature are ignored), so without a key of the sender's
domain there is no mail.  It lives for a day in the queue, and nobody is told if it
cannot be delivered: what became of it is in the spool.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from twisted.internet.defer import CancelledError

from mta.dkim.sign import NotSigned
from mta.dkim.signer import Signer
from mta.mail.address import domain_of
from mta.mail.envelope import Envelope, Recipient
from mta.mail.queue_id import new_queue_id
from mta.spool.intake import Intake, divided
from mta.spool.tls_reports import DUE, FAILED, SENT, Planned, Way
from mta.tlsrpt.message import Letter, compose
from mta.tlsrpt.record import address_of
from mta.tlsrpt.settings import ReportSettings

MAIL_MS = 86_400_000  # for redelivery (§5.5)

Post: TypeAlias = Callable[[str, bytes], Awaitable[str]]
"""Posts a report to a URL and returns what was answered; raises ``NotTaken``."""


class NotTaken(Exception):
    """A report could not be posted; one line.  ``final``: trying again is useless."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True, slots=True)
class Gone:
    """What came of a turn: the ways as they are now, and the mail that is to enter the queue."""

    ways: tuple[Way, ...]
    mail: Intake | None = None


async def send(
    report: Planned, body: bytes, settings: ReportSettings, signer: Signer, post: Post, now_ms: int
) -> Gone:
    """Try every way that is due."""
    due = [way for way in report.ways if way.state == DUE]
    letters = [way for way in due if address_of(way.uri)]
    done: dict[Way, Way] = {}
    mail = None
    if letters:
        try:
            mail = await _mail(report, letters, body, settings, signer, now_ms)
            text = f"queued as {mail.envelope.id}"
            done |= {way: replace(way, state=SENT, text=text) for way in letters}
        except NotSigned as error:
            done |= {way: replace(way, state=FAILED, text=str(error)) for way in letters}
    for way in due:
        if way not in done:
            done[way] = await _posted(way, body, post)
    return Gone(tuple(done.get(way, way) for way in report.ways), mail)


async def _posted(way: Way, body: bytes, post: Post) -> Way:
    try:
        return replace(way, state=SENT, text=await post(way.uri, body))
    except CancelledError:
        raise
    except NotTaken as error:
        return replace(way, state=FAILED if error.final else DUE, text=str(error))


async def _mail(
    report: Planned,
    letters: list[Way],
    body: bytes,
    settings: ReportSettings,
    signer: Signer,
    now_ms: int,
) -> Intake:
    """Make the message; raises ``NotSigned``."""
    addresses = tuple(dict.fromkeys(address_of(way.uri) for way in letters))
    letter = Letter(
        new_queue_id(now_ms),
        settings.sender,
        addresses,
        settings.author,
        report.domain,
        report.day,
        report.report_id,
        settings.host_name,
        now_ms,
    )
    content = compose(letter, body)
    begun = signer.rules.begin(content, now_ms / 1000, whole=True)
    if begun is None:
        domain = domain_of(settings.sender)
        raise NotSigned(f"there is no DKIM key for {domain}: mta dkim generate {domain}")
    content = await signer.sign(begun[0]) + content
    envelope = Envelope(
        letter.id,
        settings.sender,
        len(content),
        now_ms,
        now_ms + MAIL_MS,
        tls_not_required=True,
        message_id=f"<{letter.id}@{settings.host_name}>",
    )
    recipients = tuple(
        Recipient(number, address, domain_of(address), notify="NEVER")
        for number, address in enumerate(addresses)
    )
    return Intake(envelope, recipients, divided(content), now_ms)
