"""Which policy of MTA-STS a domain has now: from memory, from the spool, from the domain itself.

A policy in force is used at once; whether there is a newer one is found out beside that, when
the TXT record's time is over.  Mail to a domain that nothing is known of waits a little for what
it may have published, and then goes as if there were nothing (RFC 8461 §3.3): a policy host that is
slow must not hold up mail.  While a policy cannot be fetched the one that came last is in force,
until its time is over; a fetch that has failed is not tried again for five minutes, whatever TXT
records say.  All who want to know about one domain share one look.

A message with REQUIRETLS needs to know for certain, and waits longer.

Trusts: the policy hosts whose certificates verify, and the clock.  TXT records are not trusted:
they can make us fetch, or not, and never take a policy away.  When the spool cannot be read,
nobody knows whether a policy is in force: that raises, and mail waits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.logger import Logger

from mta.dns.cache import Cache
from mta.dns.sharing import Sharing
from mta.mail.events import Emit, Note
from mta.mail.security import Published, Result
from mta.security.facts import Sts, StsMode
from mta.spool import sts
from mta.spool.errors import SpoolUnavailable
from mta.spool.sts import Stored
from mta.sts.discovery import Lookup, find
from mta.sts.fetch import Fetch, NoPolicy
from mta.sts.policy import Policy, kept
from mta.sts.settings import StsSettings
from mta.tls.level import ClientTls

RETRY_S = 300.0  # after a fetch that failed (RFC 8461 §3.3)
REFRESH_S = 86_400.0  # a policy is fetched anew after that, though nothing says so
CERTAIN_S = 90.0  # the wait for a look to end where it must: DNS and a fetch, both bounded
_FORGOTTEN_S = 86_400.0
_REMEMBERED = 20_000  # domains
_AT_ONCE = 50  # fetches
_USED_MS = 86_400_000  # how exactly it is known when a policy was used


class Spool(Protocol):
    """What is asked of the spool; ``mta.spool.database.Database`` is one."""

    def read(self, fn: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run ``fn(conn, ...)``."""

    def write(self, fn: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run ``fn(conn, ...)`` in a transaction."""


@dataclass(slots=True)
class _Known:
    """What this process knows of a domain."""

    stored: Stored
    policy: Policy | None
    due_s: float  # when the TXT record is looked at again, by the reactor's clock
    unknown: str = ""  # why it cannot be known what the domain has published
    result: Result | None = None  # the same in a word of TLS reports, if it has one
    waited: bool = False  # mail has waited for the look that is under way, and long enough
    # What is the same for all hosts of the domain
    text: str = field(init=False, default="")
    published: Published | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        policy, domain = self.policy, self.stored.domain
        if policy is None:
            return
        self.text = described(self.stored, policy)
        if policy.mode is not StsMode.NONE:
            more = (policy.lines, policy.mx, self.result, self.unknown)
            self.published = Published("sts", domain, *more)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Policies:
    """Implements ``mta.delivery.securing.StsFacts``."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        resolver: Lookup,
        fetch: Fetch,
        spool: Spool,
        emit: Emit,
        settings: StsSettings,
        *,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """``now_ms`` is the time of day, which policies end by; the reactor's begins anywhere."""
        self.now_ms = now_ms
        self._fetch = fetch
        self._settings = settings
        self._reactor = reactor
        self._resolver = resolver
        self._spool = spool
        self._emit = emit
        self._kept: Cache[_Known] = Cache(reactor.seconds, _REMEMBERED)
        self._going: Sharing[None] = Sharing()
        self._loading: Sharing[_Known] = Sharing()
        self._background: set[Deferred[None]] = set()
        self._turns = DeferredSemaphore(_AT_ONCE)

    def use(self, settings: StsSettings, tls: ClientTls) -> None:
        """Take new settings and authorities."""
        self._settings = settings
        self._fetch.use(tls)

    @property
    def on(self) -> bool:
        """Policies are looked at."""
        return self._settings.enabled

    async def facts(self, domain: str, host: str, *, certain: bool = False) -> Sts | None:
        """Return what the policy of ``domain`` says of ``host``; None: there is nothing to say.

        ``certain``: wait until it is known.  Raises ``SpoolUnavailable``.
        """
        known = await self._known(domain, certain=certain)
        if certain and known.due_s <= self._reactor.seconds() and not known.unknown:
            text = f"it takes too long to find out whether {domain} has an MTA-STS policy"
            known = replace(known, unknown=text)
        policy = known.policy
        if policy is None or not known.stored.in_force(self.now_ms()):
            if not known.unknown:
                return None
            nothing = None
            if known.result is not None:
                nothing = Published("sts", domain, result=known.result, text=known.unknown)
            return Sts(StsMode.NONE, False, unknown=known.unknown, published=nothing)
        self._use(known)
        matches = policy.mode is not StsMode.NONE and policy.names(host)
        return Sts(policy.mode, matches, known.text, known.unknown, known.published)

    async def renewed(self, domain: str, lines: tuple[str, ...]) -> bool:
        """Look for a newer policy, because of that of ``lines`` mail would wait (RFC 8461 §5.1).

        Tells whether another one, or none, is in force now.
        """
        await self._look(domain, CERTAIN_S)
        known = await self._known(domain)
        in_force = known.policy is not None and known.stored.in_force(self.now_ms())
        return (known.stored.lines if in_force else ()) != lines

    async def renew(self, stored: Stored) -> None:
        """Fetch a policy anew before its time is over, if the domain still has a record.

        If the DNS does not answer, the policy host is asked all the same: whoever can make it
        silent must not make policies end.
        """
        record = await find(self._resolver, stored.domain)
        if record.unknown:
            await self._renew(stored, stored.id, record.due_s)
        elif record.id is not None:
            await self._renew(stored, record.id, record.due_s)

    def stop(self) -> None:
        """Let go of everything that is under way."""
        for work in tuple(self._background):
            work.cancel()

    async def _known(self, domain: str, *, certain: bool = False) -> _Known:
        kept = self._kept.get(domain)
        known = kept[0] if kept else await self._loading.join(domain, lambda: self._load(domain))
        if known.due_s > self._reactor.seconds():
            return known
        if certain:
            await self._look(domain, CERTAIN_S)
        elif known.waited or known.stored.in_force(self.now_ms()):
            await self._look(domain, 0.0)
        elif not await self._look(domain, self._settings.first_wait_s):
            known.waited = True
        kept = self._kept.get(domain)
        return kept[0] if kept else known

    async def _load(self, domain: str) -> _Known:
        stored: Stored | None = await self._spool.read(sts.get, domain)
        known = _Known(stored or Stored(domain), _policy(stored), due_s=0.0)
        self._kept.put(domain, known, _FORGOTTEN_S)
        return known

    async def _look(self, domain: str, wait_s: float) -> bool:
        """See to it that the domain is looked at; tell whether that was done within ``wait_s``.

        The look goes on when nobody waits for it.
        """
        waiter = self._going.join(domain, lambda: self._discover(domain))
        if waiter.called:
            await waiter
            return True
        keeper = self._going.join(domain, lambda: self._discover(domain))
        self._background.add(keeper)
        keeper.addErrback(self._failed, domain)
        keeper.addBoth(lambda _: self._background.discard(keeper))
        if wait_s <= 0:
            waiter.addErrback(lambda _: None)  # the keeper has told
            return False
        waiter.addTimeout(wait_s, self._reactor)
        try:
            await waiter
        except TimeoutError:
            return False
        return True

    def _failed(self, failure: Any, domain: str) -> None:
        """Tell of a fault of ours; the database says itself that it is away."""
        if failure.check(CancelledError, SpoolUnavailable) is None:
            text = f"MTA-STS of {domain}: {failure.type.__name__}: {failure.getErrorMessage()}"
            self._emit(Note("error", "sts", text))

    async def _discover(self, domain: str) -> None:
        """Find out what the domain publishes now, and keep it."""
        record = await find(self._resolver, domain)
        stored: Stored = await self._spool.read(sts.get, domain) or Stored(domain)
        if record.id is None:
            self._put(stored, record.due_s, record.unknown, None)
            return
        if stored.in_force(self.now_ms()) and stored.id == record.id:
            self._put(stored, record.due_s, stored.failure, _result(stored))
            return
        since_s = (self.now_ms() - stored.failed_ms) / 1000
        if stored.failed_ms and 0 <= since_s < RETRY_S:
            self._put(stored, RETRY_S - since_s, stored.failure, _result(stored))
            return
        await self._renew(stored, record.id, record.due_s)

    async def _renew(self, stored: Stored, record_id: str, due_s: float) -> None:
        """Fetch a policy, and keep what comes of it."""
        domain = stored.domain
        await self._turns.acquire()
        try:
            policy = await self._fetch(domain)
        except NoPolicy as error:
            await self._keep_failure(stored, error)
            return
        finally:
            self._turns.release()
        now_ms = self.now_ms()
        fetched = to_store(policy, domain, record_id, now_ms, used_ms=stored.used_ms)
        self._put(fetched, due_s, "", None)
        await self._written(sts.keep, fetched)

    async def _keep_failure(self, stored: Stored, error: NoPolicy) -> None:
        """RFC 8461 §3.3: what was fetched before stays in force, and the operator is told."""
        now_ms, text = self.now_ms(), str(error)
        failed = replace(stored, failed_ms=now_ms, result=error.result.value, failure=text)
        self._put(failed, RETRY_S, text, error.result)
        await self._written(sts.failed, stored.domain, error.result.value, text, now_ms)
        policy = _policy(stored)
        if policy is None or not stored.in_force(now_ms):
            level, meaning = "info", "there is no older one, and mail goes without"
        else:
            level = "info" if policy.mode is StsMode.NONE else "warning"
            meaning = f"the one of {_moment(stored.fetched_ms)} is in force until "
            meaning += _moment(stored.expires_ms)
        if text != stored.failure:
            told = f"the MTA-STS policy of {stored.domain} cannot be had: {text}; {meaning}"
            self._emit(Note(level, "sts", told))

    async def _written(self, fn: Callable[..., None], *arguments: object) -> None:
        """Write for later and for others; this process knows it already."""
        try:
            await self._spool.write(fn, *arguments)
        except SpoolUnavailable as error:
            self._log.warn("a policy of MTA-STS is not written: {error}", error=error)

    def _put(self, stored: Stored, due_s: float, unknown: str, result: Result | None) -> None:
        due_s += self._reactor.seconds()
        known = _Known(stored, _policy(stored), due_s, unknown, result)
        self._kept.put(stored.domain, known, _FORGOTTEN_S)

    def _use(self, known: _Known) -> None:
        """Remember that mail goes there: only then a policy is worth renewing."""
        now_ms = self.now_ms()
        if now_ms - known.stored.used_ms < _USED_MS:
            return
        known.stored = replace(known.stored, used_ms=now_ms)
        writing = Deferred.fromCoroutine(self._written(sts.used, known.stored.domain, now_ms))
        writing.addErrback(self._failed, known.stored.domain)


def to_store(policy: Policy, domain: str, record_id: str, now_ms: int, *, used_ms: int) -> Stored:
    """Return a policy that was fetched now, as it is kept."""
    age_ms = policy.max_age_s * 1000
    due_ms = now_ms + min(round(REFRESH_S * 1000), age_ms // 2)
    used_ms = used_ms or now_ms
    return Stored(domain, record_id, policy.lines, now_ms, now_ms + age_ms, used_ms, due_ms)


def described(stored: Stored, policy: Policy) -> str:
    """Return a policy in words."""
    when = _moment(stored.fetched_ms)
    return f"MTA-STS policy of {stored.domain} ({policy.mode}, id {stored.id}, fetched {when})"


def _policy(stored: Stored | None) -> Policy | None:
    return kept(stored.lines) if stored is not None and stored.lines else None


def _result(stored: Stored) -> Result | None:
    return Result(stored.result) if stored.result else None


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}Z"
