"""Makes the reports of the days that are over, a few at a time, and sees them off.

Reports of one day are spread over hours (RFC 8460 §4.1), each at a random moment.  Which process
makes which is settled by claims in the spool.  Whether a domain wants reports at all is asked
of the DNS only then.  What fails is tried again with growing pauses for a day (§5.5).

A report has its id before anything of it leaves.  By mail there is never a second one: it enters
the queue in the transaction that says so.  A process that dies between an HTTPS server's answer
and its writing posts the same octets under the same id again, which a receiver can tell
(§5.3): better than a report that nobody gets.

Trusts: the DNS, as all of TLSRPT does (§7).  Our own names in it never lead inside: ``post`` sees
to that.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from secrets import token_hex
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mta.dkim.signer import Signer
from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.txt import joined
from mta.mail.events import Emit, Note
from mta.spool import tls_reports, tls_sessions
from mta.spool.errors import SpoolUnavailable
from mta.spool.tls_reports import DUE, FAILED, NONE, SENT, Planned, Way
from mta.tlsrpt.document import compressed, document
from mta.tlsrpt.record import name_of, places
from mta.tlsrpt.settings import ReportSettings
from mta.tlsrpt.ways import Post, send

FIRST_S = 3.0
EVERY_S = 30.0
LATE_MS = 120_000  # after the day's end everything that was counted is in the spool
TRY_FOR_MS = 86_400_000
CLAIM_MS = 600_000  # well above what the DNS and all places of one report can take together
_AT_ONCE = 16  # claimed and made together: a server that keeps silent holds up only itself
_PLANNED_AT_ONCE = 200
_FIRST_PAUSE_MS = 900_000  # it doubles
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class Lookup(Protocol):
    """What is asked of a resolver; ``mta.dns.resolver.Resolver`` is one."""

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Return the records, or fail with ``NoSuchName`` or ``DnsTemporary``."""


class Store(Protocol):
    """What is needed of ``mta.spool.database.Database``."""

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``; fires after its commit."""

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``."""


class Reporter:
    """Works while it is started; ``settings`` may be replaced at any time."""

    _log = Logger()

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        clock: IReactorTime,
        store: Store,
        resolver: Lookup,
        signer: Signer,
        post: Post,
        emit: Emit,
        settings: ReportSettings,
        *,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        queued: Callable[[], None],
    ) -> None:
        """``queued`` is called when mail has entered the queue."""
        self.settings = settings
        self._clock = clock
        self._store = store
        self._resolver = resolver
        self._signer = signer
        self._post = post
        self._emit = emit
        self._now_ms = now_ms
        self._random = random
        self._queued = queued
        self._token = token_hex(8)
        self._timer: IDelayedCall | None = None
        self._turn: Deferred[None] | None = None
        self._stopped = False
        self._failing = False

    def start(self) -> None:
        """Begin to look for what is due."""
        self._stopped = False
        self._timer = self._clock.callLater(FIRST_S, self._fire)

    def stop(self) -> None:
        """Let go of what is under way: another turn, or another process, takes it up."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._turn is not None:
            self._turn.cancel()

    def turn(self) -> Deferred[None]:
        """Plan and make what is due now; never fails."""
        return Deferred.fromCoroutine(self._once())

    def _fire(self) -> None:
        self._turn = self.turn()
        self._turn.addBoth(self._ended)

    def _ended(self, _ignored: object) -> None:
        self._turn = None
        if not self._stopped:
            self._timer = self._clock.callLater(EVERY_S, self._fire)

    async def _once(self) -> None:
        try:
            await self._plan()
            while await self._make_some() and not self._stopped:
                pass
        except CancelledError:
            return
        except SpoolUnavailable as error:
            self._fails("warning", str(error))
        except Exception as error:
            self._log.failure("while making reports on TLS")
            self._fails("error", repr(error))
        else:
            if self._failing:
                self._failing = False
                self._emit(Note("info", "tlsrpt", "reports on TLS are made again"))

    def _fails(self, level: str, why: str) -> None:
        if not self._failing:
            self._failing = True
            self._emit(Note(level, "tlsrpt", f"no reports on TLS are made: {why}"))

    async def _plan(self) -> None:
        settings, planned = self.settings, _PLANNED_AT_ONCE
        while planned == _PLANNED_AT_ONCE and not self._stopped:
            named = [token_hex(10) for _ in range(planned)]
            delays_s = (settings.delay_s + settings.spread_s * self._random() for _ in named)
            after_ms = [round(1000 * delay_s) for delay_s in delays_s]
            planned = await self._store.write(
                tls_reports.plan, self._now_ms(), LATE_MS, named, after_ms
            )

    async def _make_some(self) -> bool:
        """Make what is due, a few at a time; tell whether there may be more."""
        now_ms = self._now_ms()
        some = await self._store.write(
            tls_reports.claim, self._token, now_ms, now_ms + CLAIM_MS, _AT_ONCE
        )
        made: Any = DeferredList(
            [Deferred.fromCoroutine(self._make(one)) for one in some], consumeErrors=True
        )
        for done, result in await made:
            if not done:
                result.raiseException()
        return len(some) == _AT_ONCE

    async def _make(self, report: Planned) -> None:
        now_ms = self._now_ms()
        report = replace(report, until_ms=report.until_ms or now_ms + TRY_FOR_MS)
        mail = None
        try:
            if report.body is None:
                report = await self._begun(report)
            if report.state == DUE and report.body is not None:
                gone = await send(
                    report, report.body, self.settings, self._signer, self._post, now_ms
                )
                mail = gone.mail
                report = _after(replace(report, ways=gone.ways), self._now_ms())
                if mail is not None:
                    report = replace(report, queue_id=mail.envelope.id)
        except DnsTemporary as error:
            report = _later(replace(report, text=f"DNS: {error}"), self._now_ms())
        if await self._store.write(tls_reports.settle, report, self._token, mail):
            self._tell(report)
            if mail is not None:
                self._queued()

    async def _begun(self, report: Planned) -> Planned:
        """Return the report with its octets and ways, or as one that nobody wants."""
        wanted = None
        if _DOMAIN.fullmatch(report.domain):
            try:
                answer = await self._resolver.lookup(name_of(report.domain), "TXT")
                wanted = places(joined(answer))
            except NoSuchName:
                wanted = None
        if wanted is None:
            return replace(report, state=NONE, ended_ms=self._now_ms(), text="no TLSRPT record")
        if not wanted:
            text = "its TLSRPT record names no place that a report can go to"
            return replace(report, state=NONE, ended_ms=self._now_ms(), text=text)
        counted = await self._store.read(tls_sessions.of_domain, report.day, report.domain)
        body = compressed(document(self.settings.author, report.day, report.report_id, counted))
        return replace(report, body=body, ways=tuple(map(Way, wanted)))

    def _tell(self, report: Planned) -> None:
        if report.state in (SENT, FAILED):
            level = "info" if report.state == SENT else "warning"
            ways = "; ".join(f"{way.uri}: {way.text}" for way in report.ways) or report.text
            text = f"report on TLS to {report.domain} {report.state}: {ways}"
            self._emit(Note(level, "tlsrpt", text))


def _after(report: Planned, now_ms: int) -> Planned:
    """Return what a turn of sending has made of a report."""
    states = {way.state for way in report.ways}
    trouble = "; ".join(way.text for way in report.ways if way.state != SENT)
    if DUE in states:
        return _later(replace(report, text=trouble), now_ms)
    # One place that has it is enough (§3)
    state = SENT if SENT in states else FAILED
    return replace(report, state=state, ended_ms=now_ms, text=trouble, body=None)


def _later(report: Planned, now_ms: int) -> Planned:
    """Return a report that is to be tried again, as long as there is time for it."""
    next_ms = now_ms + (_FIRST_PAUSE_MS << min(report.tries, 5))
    if next_ms < report.until_ms:
        return replace(report, next_ms=next_ms, tries=report.tries + 1)
    ways = tuple(replace(way, state=FAILED) if way.state == DUE else way for way in report.ways)
    state = SENT if any(way.state == SENT for way in ways) else FAILED
    return replace(report, state=state, ways=ways, ended_ms=now_ms, body=None)
