"""Turn the table of reports on TLS into what ``mta.tlsrpt`` takes, and build that."""

import random
import time
from collections.abc import Callable
from typing import Any

from mta.config.settings import Settings
from mta.dkim.signer import Signer
from mta.dns.mx import MailExchangers
from mta.dns.resolver import Resolver
from mta.mail.address import domain_of
from mta.mail.events import Emit
from mta.spool.database import Database
from mta.tls.level import ClientTls
from mta.tlsrpt.document import Author
from mta.tlsrpt.posting import Posting
from mta.tlsrpt.reporter import Reporter
from mta.tlsrpt.reports import TlsReports
from mta.tlsrpt.settings import ReportSettings
from mta.tlsrpt.tally import Tally


def tls_report(settings: Settings) -> ReportSettings | None:
    """Return how reports are made; None: they are not, and nothing is counted."""
    section = settings.tls_report
    if not section.enabled or not section.contact:
        return None
    return ReportSettings(
        author=Author(section.organization or domain_of(section.contact), section.contact),
        sender=section.sender or section.contact,
        host_name=settings.host_name,
        delay_s=section.delay.total_seconds(),
        spread_s=section.spread.total_seconds(),
        private_addresses=section.private_addresses,
    )


def tls_reports(  # noqa: PLR0913 - the composition root names every part it joins
    reactor: Any,
    settings: Settings,
    tls: ClientTls,
    database: Database,
    resolver: Resolver,
    signer: Signer,
    *,
    emit: Emit,
    queued: Callable[[], None],
) -> TlsReports:
    """Build what counts and reports; ``queued`` is called when a report has entered the queue."""

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    exchangers = MailExchangers(resolver, frozenset())
    posting = Posting(reactor, tls, exchangers.addresses, private=False)

    def make(how: ReportSettings) -> Reporter:
        return Reporter(
            reactor,
            database,
            resolver,
            signer,
            posting,
            emit,
            how,
            now_ms=now_ms,
            random=random.random,
            queued=queued,
        )

    tally = Tally(reactor, database, emit, now_ms)
    return TlsReports(tally, posting, make, tls_report(settings))
