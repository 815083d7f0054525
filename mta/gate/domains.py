"""What DNS says of a recipient's domain, in a bounded time; what it does not say is UNKNOWN.

The resolver is the one that delivery asks, and its cache the same: what is asked here need not be
asked again there.  That a domain takes mail, or that nothing could be found out, is kept for
a while here too; a refusal never outlives what the resolver remembers.  Once an answer has been
waited for in vain, and no other has come meanwhile, nothing is asked for half a minute, twice as
long the next time, and five minutes at most: a dead resolver costs its patience once, and not at
each recipient.  A question that nobody waits for any more goes on, within the resolver's bounds:
what comes of it is remembered there, an answer as well as a failure (RFC 9520).
"""

from collections.abc import Awaitable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as LateError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mta.dns.cache import Cache
from mta.dns.mx import MailExchangers, NoSuchDomain, NoUsableHost, NullMx
from mta.policy.recipients import Domain

PATIENCE_S = 2.0
PAUSE_S = 30.0
MOST_S = 300.0
_KEEP_S = 60.0  # that a domain takes mail; delivery finds out when that has ended
_REMEMBERED = 10_000


class Domains:
    """Asks, and remembers what is no reason to refuse anything."""

    def __init__(self, clock: IReactorTime, exchangers: MailExchangers) -> None:
        self._clock = clock
        self._exchangers = exchangers
        self._kept: Cache[Domain] = Cache(clock.seconds, _REMEMBERED)
        self._paused_until_s = 0.0
        self._pause_s = PAUSE_S  # the next one
        self._answered_s = -1.0

    def ask(self, domain: str) -> Domain | Awaitable[Domain]:
        """Return what is known of ``domain`` at once, else what DNS will have said of it."""
        kept = self._kept.get(domain)
        if kept is not None:
            return kept[0]
        now_s = self._clock.seconds()
        if now_s < self._paused_until_s:
            return Domain.UNKNOWN
        hosts: Deferred[object] = self._exchangers.hosts(domain)  # type: ignore[assignment]
        found: Deferred[Domain] = hosts.addCallbacks(lambda _: Domain.TAKES_MAIL, _meaning)
        if not found.called:
            return self._later(found, domain, now_s)
        said: list[Domain] = []
        found.addCallback(said.append)
        return self._keep(domain, said[0]) if said else Domain.UNKNOWN

    async def _later(self, found: Deferred[Domain], domain: str, asked_s: float) -> Domain:
        try:
            said = await self._patiently(found)
        except LateError:
            if self._answered_s < asked_s:
                self._paused_until_s = self._clock.seconds() + self._pause_s
                self._pause_s = min(2 * self._pause_s, MOST_S)
            return self._keep(domain, Domain.UNKNOWN)
        self._answered_s, self._pause_s = self._clock.seconds(), PAUSE_S
        return self._keep(domain, said)

    def _patiently(self, found: Deferred[Domain]) -> Deferred[Domain]:
        """Wait for so long; the question itself is not given up then."""
        waiting: Deferred[Domain] = Deferred()

        def pass_on(said: Domain | Failure) -> None:
            if not waiting.called:
                waiting.callback(said)  # a Failure is an errback

        found.addBoth(pass_on)
        return waiting.addTimeout(PATIENCE_S, self._clock)

    def _keep(self, domain: str, said: Domain) -> Domain:
        if said in (Domain.TAKES_MAIL, Domain.UNKNOWN):
            keep_s = _KEEP_S if said is Domain.TAKES_MAIL else PAUSE_S
            self._kept.put(domain, said, keep_s)
        return said


def _meaning(failure: Failure) -> Domain:
    if failure.check(CancelledError):
        failure.raiseException()
    if failure.check(NullMx):
        return Domain.NULL_MX
    if failure.check(NoUsableHost):
        return Domain.UNKNOWN  # it exists; what becomes of its mail is for the delivery to say
    if failure.check(NoSuchDomain):
        return Domain.MISSING
    return Domain.UNKNOWN  # a temporary failure, a loop: the delivery finds out
