"""Counting and reporting together, on and off as the settings say."""

from collections.abc import Callable
from typing import TypeAlias

from mta.mail.tls_session import TlsSession
from mta.tls.level import ClientTls
from mta.tlsrpt.posting import Posting
from mta.tlsrpt.reporter import Reporter
from mta.tlsrpt.settings import ReportSettings
from mta.tlsrpt.tally import Tally

MakeReporter: TypeAlias = Callable[[ReportSettings], Reporter]


class TlsReports:
    """While there are no settings nothing is counted, and nothing is looked for."""

    def __init__(
        self, tally: Tally, posting: Posting, make: MakeReporter, settings: ReportSettings | None
    ) -> None:
        """``make`` makes what reports, when it is wanted first."""
        self._tally = tally
        self._posting = posting
        self._make = make
        self._settings = settings
        self._reporter: Reporter | None = None
        self._started = False

    @property
    def count(self) -> Callable[[TlsSession], None] | None:
        """What counts sessions; None: they are not counted."""
        return None if self._settings is None else self._tally.count

    def use(self, settings: ReportSettings | None, tls: ClientTls) -> None:
        """Go on with other settings and authorities."""
        self._settings = settings
        self._posting.tls = tls
        if self._started:
            self._go()

    def start(self) -> None:
        """Begin, if it is wanted; the spool is there."""
        self._started = True
        self._go()

    def _go(self) -> None:
        if self._settings is None:
            if self._reporter is not None:
                self._reporter.stop()
                self._reporter = None
                self._tally.pause()
            return
        self._posting.private = self._settings.private_addresses
        self._tally.start()
        if self._reporter is None:
            self._reporter = self._make(self._settings)
            self._reporter.start()
        self._reporter.settings = self._settings

    async def stop(self) -> None:
        """End, and write what was counted."""
        self._started = False
        if self._reporter is not None:
            self._reporter.stop()
        await self._tally.stop()
