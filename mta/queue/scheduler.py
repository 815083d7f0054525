"""The queue at work: takes mail over, chooses what is delivered next, acts on what came of it.

Mail enters the active set in two ways: handed over in memory by the transaction that
accepted it (*born claimed*), or claimed from the spool when it is due.  Both become entries,
one for each message and destination, which wait in ``sites`` for their turn; before that, in
``resolving``, where the site has to be looked up first.
``attempt`` delivers one and answers with outcomes; ``settling`` decides, ``ledger`` writes.

It trusts ``attempt`` to end, but not without a bound (``attempt_limit_s``), and it trusts the
wall clock only for what is shared through the spool; its own waits are by the monotonic one.
An operator's verb reaches mail in the active set within a second or two unless its
attempt is under way; then it takes effect when that ends.

Cost: one ``callLater`` for all that happens in one turn of the reactor, no timer and two
Deferreds for each attempt.
"""

import random as random_module
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.dkim.signer import Signer
from mta.mail.envelope import Body, Envelope, Job, Recipient
from mta.mail.events import Emit, Note
from mta.mail.outcome import Outcome, Verdict
from mta.queue.active import ActiveSet
from mta.queue.claims import Claims
from mta.queue.doubt import InDoubt
from mta.queue.entry import Destination, Entry, Held
from mta.queue.health import Health, health
from mta.queue.housekeeping import Housekeeping, Periodic, until
from mta.queue.isolation import Isolation
from mta.queue.lease import Lease
from mta.queue.ledger import Ledger, last_words
from mta.queue.operators import Operators
from mta.queue.publishing import Publishing
from mta.queue.recorder import Recorder
from mta.queue.resolving import Alone, SiteNames
from mta.queue.restraints import Restraints
from mta.queue.settings import QueueSettings
from mta.queue.settling import deferred, due_at_once, must_return, settle, told_why, with_causes
from mta.queue.sites import PutOff
from mta.queue.under_way import UnderWay
from mta.queue.wake import Wake
from mta.queue.wall import Wall
from mta.queue.watch import Watch
from mta.spool import leases
from mta.spool.clock import SpoolClock, wall_ms
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable
from mta.spool.intake import Reservation

_TIDY_S = 60.0
_AFTER_CANCEL_S = 5.0  # for cancelled attempts to end
_LAST_WRITES_S = 10.0

Attempt = Callable[[Job], "Deferred[list[Outcome]]"]


class Scheduler:
    """Implements ``mta.spool.intake.Handover``."""

    _log = Logger()

    def __init__(  # noqa: PLR0913 - the composition root names every part it joins
        self,
        clock: IReactorTime,
        database: Database,
        attempt: Attempt,
        destination: Destination,
        settings: QueueSettings,
        node: str,
        emit: Emit,
        *,
        now_ms: Callable[[], int] = wall_ms,
        random: Callable[[], float] = random_module.random,
        signer: Signer | None = None,
        names: SiteNames | None = None,
        spool_clock: SpoolClock | None = None,
        in_doubt: InDoubt | None = None,
    ) -> None:
        """``destination(sender, domain)`` names the key of a destination.

        ``names`` knows its site; without it each is one by itself.  ``signer`` signs our reports.
        ``spool_clock`` is what ``now_ms`` goes by, to be asked again with each renewal.
        ``in_doubt`` says what becomes of what a process that died has perhaps delivered.
        """
        self._clock = clock
        self._database = database
        self._attempt = attempt
        self._destination_of = destination
        self._settings = settings
        self._emit = emit
        self._now_ms = now_ms
        self._random = random
        self._lease = Lease(clock, database, node, now_ms, emit)
        self._lease.spool_clock = spool_clock
        self._recorder = Recorder(clock, emit, self._soon)
        self._wall = wall = Wall(clock, now_ms, database, emit, self._lease_s, self.kick)
        self._ledger = Ledger(database, self._recorder, settings, node, wall, emit, self._written)
        self._ledger.signer = signer
        self._active = self._active_set(names or Alone())
        self._active.in_doubt = in_doubt
        self._isolation = Isolation(clock, now_ms, database, node, self._active, emit)
        self._claims = Claims(
            clock, now_ms, database, self._lease, self._active, self._isolation, self._registered_ms
        )
        self._publishing = Publishing(
            clock, now_ms, database, self._lease, self._active.sites, emit
        )
        self.restraints = Restraints(clock, now_ms, database, self._active, emit)
        self._operators = Operators(database, emit)
        self._watch = Watch(clock, now_ms, database, self._lease, self._active.sites)
        self._housekeeping = Housekeeping(clock, database, settings, wall.aged_ms, emit)
        self._polling = Periodic(clock, emit, "polling", self._claims.pause_s, self._poll)
        self._renewing = Periodic(
            clock, emit, "renewing the lease", lambda: self._lease_s() / 3, self._renew
        )
        self._tidying = Periodic(clock, emit, "tidying", lambda: _TIDY_S, self._tidy)
        self._under_way = UnderWay()
        self._turn_set = False
        self._wake = Wake(clock, self._soon)
        self._stopping = False

    def _active_set(self, names: SiteNames) -> ActiveSet:
        return ActiveSet(
            self._clock, self._now_ms, self._settings, self._lease, self._ledger, self._database,
            destination=self._destination, names=names, soon=self._soon,
        )  # fmt: skip

    def reserve(self, recipients: int, octets: int, owner: str = "") -> Reservation | None:
        """Keep room for a message that is about to be accepted, or say that there is none."""
        room = self._active.room
        if not self._ready() or self._isolation.cut_off or not room.fits(recipients, octets, owner):
            return None
        room.take(recipients, octets)
        return Held(self._lease.token, self._registered_ms(), recipients, octets)

    def put_off_ms(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> int | None:
        """Tell when a new message is due that is not to come in, because its site is dead."""
        return self._active.put_off_ms(envelope, recipients)

    def accepted(
        self,
        envelope: Envelope,
        recipients: tuple[Recipient, ...],
        body: Body,
        reservation: Reservation | None,
    ) -> None:
        """Take over a message that has been committed."""
        if reservation is None:
            self.kick()
            return
        if isinstance(reservation, Held):
            self._active.room.give(reservation.recipients, reservation.octets)
        self._active.take(envelope, recipients, body, reservation.claim)
        self._soon()

    def cancel(self, reservation: Reservation, recipients: int, octets: int) -> None:
        """Give the room back: the message was not committed after all."""
        if isinstance(reservation, Held):
            recipients, octets = reservation.recipients, reservation.octets
        self._active.room.give(recipients, octets)

    def kick(self) -> None:
        """Look into the spool at once: something there is due."""
        self._claims.due = True
        self._soon()

    def listen(self, listening: Callable[[], bool]) -> Callable[[], None]:
        """Poll seldom while idle and ``listening()``; return what is to be called on news."""
        self._claims.listening = listening
        return self._polling.now

    def use(self, settings: QueueSettings) -> None:
        """Go on with other settings; what is in hand is settled by the new ones."""
        self._settings = self._ledger.settings = self._housekeeping.settings = settings
        self._active.use(settings)
        self._soon()

    def wait_for(self, waits: Callable[[Entry], PutOff | None] | None) -> None:
        """Ask ``waits`` about everything before it is dialled: whether a budget is used up."""
        self._active.waits = waits

    @property
    def active(self) -> int:
        """How many recipients are in the active set."""
        return self._active.room.recipients

    def under_way(self) -> int:
        """Return how many attempts there are at the moment."""
        return len(self._under_way)

    def start(self) -> Deferred[None]:
        """Register this run and begin.  With the spool away, begin as soon as it is back."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._lease.register(self._settings.lease_s)
            await self.restraints.look(None)
        except SpoolUnavailable as error:  # polling registers us as soon as it can
            self._emit(Note("error", "queue", f"no delivery until the spool is back: {error}"))
        except Exception:
            self._fault(Failure(), "registering with the spool")
        for duty in (self._polling, self._renewing, self._tidying, self._wall):
            duty.start()
        self._housekeeping.start()
        self._publishing.start()
        self.kick()

    def _ready(self) -> bool:
        """Whether work may be begun: it is ours, and what comes of it can be written."""
        ours = self._lease.alive and self.restraints.known
        return ours and not self._recorder.away and not self._stopping

    def _registered_ms(self) -> int:
        """When a claimed recipient is due again, should this process die."""
        return self._now_ms() + self._settings.retry.step_ms(1)

    def _destination(self, sender: str, domain: str, *chosen: str) -> str:
        try:
            return self._destination_of(sender, domain, *chosen)
        except Exception:
            # The message is ours already; let the attempt find out what is wrong.
            self._fault(Failure(), f"looking for the route to {domain}")
            return f"?:{domain}"

    def _soon(self) -> None:
        if not self._turn_set:
            self._turn_set = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        """Do all that has become possible since the last turn."""
        self._turn_set = False
        self._ledger.flush()
        if not self._ready():
            return
        self._active.resolving.go()
        now_s = self._clock.seconds()
        while (entry := self._active.sites.next(now_s)) is not None:
            self._begin(entry)
        self._wake.at(self._active.sites.wake_s)
        self._active.sharing.look()
        if self._claims.look():
            claim = Deferred.fromCoroutine(self._claims.claim())
            claim.addErrback(self._fault, "claiming due mail")
            claim.addBoth(lambda _: self._soon())

    def _fault(self, failure: Failure, what: str) -> None:
        self._log.failure("while {what}", failure, what=what)
        words = f"{failure.type.__name__}: {failure.getErrorMessage()}" if failure.type else ""
        self._emit(Note("error", "queue", f"a fault of the program while {what}: {words}"))

    def _begin(self, entry: Entry) -> None:
        """Deliver ``entry``: its turn has come."""
        entry.began_ms, entry.began_s = self._now_ms(), self._clock.seconds()
        envelope = entry.job.envelope
        if envelope.asked.deliver_by and must_return(envelope, self._wall.aged_ms()):
            self._active.ended(entry, Health.UNKNOWN)
            self._ledger.expire(entry)
            return
        active = self._active
        if (active.blocked is not None and active.put_back(entry)) or (
            active.waits is not None and active.put_off(entry)
        ):
            self._active.ended(entry, Health.UNKNOWN)
            self._soon()
            return
        try:
            attempt = self._attempt(entry.job)
        except Exception:
            self._broke(Failure(), entry)
            return
        self._under_way.begin(entry, attempt)
        attempt.addCallbacks(
            self._came, self._broke, callbackArgs=(entry,), errbackArgs=(entry,)
        ).addErrback(self._fault, "settling an attempt")

    def _broke(self, failure: Failure, entry: Entry) -> None:
        """An attempt has ended without outcomes: cancelled by us, or by a fault of the program."""
        if failure.check(CancelledError):
            text = self._under_way.why(entry) or "the attempt was cancelled"
            self._came(deferred(entry.job.recipients, "4.3.2", text), entry)
            return
        self._fault(failure, f"delivering {entry.job.envelope.id}")
        text = "a fault of the program, see the log of the service"
        self._came(deferred(entry.job.recipients, "4.3.0", text), entry)

    def _came(self, outcomes: list[Outcome], entry: Entry) -> None:
        """An attempt has ended."""
        why = self._under_way.ended(entry)
        if self._active.barred(entry, outcomes):
            return
        if why is not None:
            outcomes = told_why(outcomes, why)
        state = health(outcomes)
        if any(one.verdict is not Verdict.DELIVERED for one in outcomes):
            outcomes = with_causes(outcomes, self._settings.causes)
            ours = self.restraints.observe(entry, outcomes, self._settings.causes)
            if ours and state is Health.BAD:
                state = Health.UNKNOWN
        if self._isolation.observe(entry, outcomes):
            self._claims.due = True
        if self._watch.wanted:
            self._watch.ended(entry.site, outcomes)
        self._active.ended(entry, state, last_words(outcomes) if state is Health.BAD else "")
        settled = settle(entry, outcomes, self._settings, self._wall.aged_ms(), self._random)
        settled = self._wall.told(settled)
        if why is not None and self._stopping:
            settled = due_at_once(settled, self._now_ms())
        self._ledger.settle(entry, settled)
        self._soon()

    def _written(self, entry: Entry, reported: bool) -> None:
        """Nothing more is to be written about ``entry``: it leaves the active set."""
        self._active.left(entry)
        if reported:
            self.kick()
        elif self._claims.due:
            self._soon()

    async def _poll(self) -> None:
        if not self._lease.token:
            await self._lease.register(self._settings.lease_s)
        if (await self._claims.poll() or self._operators.unaware) and await self._operators.look():
            self._active.sites.revive()
        await self.restraints.look(self._claims.restraints)
        self._watch.until(self._claims.watched_until_ms)
        if self._watch.wanted:
            await self._watch.write()
        self._soon()

    def _lease_s(self) -> float:
        return self._settings.lease_s

    async def _renew(self) -> None:
        if self._lease.token and not await self._lease.renew(self._settings.lease_s):
            self._forget()
        if await self._database.write(leases.reap, self._wall.aged_ms()):
            self._claims.due = True
        self._soon()

    def _forget(self) -> None:
        """Our lease was taken away: drop what is not begun, cancel what is."""
        self._lease.token = ""  # polling registers us anew
        dropped = self._active.drop()
        text = (
            f"the lease of node {self._lease.node} had run out (did this process hang?) and was "
            f"taken away; {dropped} deliveries dropped, {len(self._under_way)} cancelled"
        )
        self._emit(Note("error", "queue", text))
        self._under_way.cancel(self._under_way, "the lease was lost")

    async def _tidy(self) -> None:
        now_s = self._clock.seconds()
        self._active.sites.tidy(now_s)
        slow = self._under_way.since(now_s - self._settings.attempt_limit_s)
        self._under_way.cancel(slow, "the attempt took too long")
        if strays := await self._claims.give_back_strays():
            text = f"{strays} recipients were claimed by a commit that went unanswered; due again"
            self._emit(Note("warning", "queue", text))
            self._soon()

    def stop(self, grace_s: float) -> Deferred[None]:
        """Stop in order; what is under way may take ``grace_s`` seconds more, then is cancelled."""
        return Deferred.fromCoroutine(self._stop(grace_s))

    async def _stop(self, grace_s: float) -> None:
        self._stopping = True
        self._active.close()
        self._housekeeping.stop()
        self._publishing.stop()
        for duty in (self._polling, self._tidying, self._wall):
            duty.stop()
        self._active.give_back(lambda _entry: True)
        self._soon()
        await until(self._clock, self._idle, grace_s)
        self._under_way.cancel(self._under_way, "the service is stopping")
        await until(self._clock, lambda: not self._under_way, _AFTER_CANCEL_S)
        self.restraints.stop()
        await until(self._clock, self._all_written, _LAST_WRITES_S)
        if lost := self._recorder.stop():
            text = f"{lost} writes could not be made; what was delivered may be delivered again"
            self._emit(Note("error", "queue", text))
        self._renewing.stop()
        self._wake.stop()
        await self._lease.give_up()

    def _idle(self) -> bool:
        return not self._under_way and not self._claims.under_way

    def _all_written(self) -> bool:
        self._ledger.flush()
        return not self._recorder.pending and not self._ledger.composing
