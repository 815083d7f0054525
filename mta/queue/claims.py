"""How mail comes from the spool into the active set: by polling, by a kick, by a wake-up.

One claim at a time, as large as there is room for; what has gathered meanwhile comes with
the next one.  Domains whose site is full are not asked for.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mta.queue.active import ActiveSet
from mta.queue.entry import Entry
from mta.queue.isolation import Isolation
from mta.queue.lease import Lease
from mta.spool import due, leases
from mta.spool.body import StoredBody
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable

_POLL_S = 1.0
_IDLE_POLL_S = 5.0  # where there is nothing in hand and the spool tells of what is new
_CLAIM = 1000  # recipients read from the spool at once
_SPARE = 10  # a claim that passes over what is not wanted may take a tenth of the time


class Claims:
    """Reads due mail when something is due, and as far as there is room."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        lease: Lease,
        active: ActiveSet,
        isolation: Isolation,
        registered_ms: Callable[[], int],
    ) -> None:
        """``registered_ms()`` is when a recipient claimed now is due again if we die."""
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._lease = lease
        self._active = active
        self._isolation = isolation
        self._registered_ms = registered_ms
        self._wake: int | None = None
        self._unknown: set[leases.Key] = set()
        self._after_s = 0.0
        self.watched_until_ms = 0  # as the last poll has it
        self.restraints = 0  # the same
        self.due = False  # the spool has something for us, as far as we know
        self.under_way = False
        self.listening: Callable[[], bool] | None = None
        self._next_due_ms: int | None = None

    def look(self) -> bool:
        """Tell whether a claim should be made now."""
        sites = self._active.sites
        if sites.relieved:
            sites.relieved = False
            self.due = True
            self._after_s = 0.0
        return (
            self.due
            and not self.under_way
            and self._active.room.free > 0
            and self._clock.seconds() >= self._after_s
            and self._isolation.may_try()
        )

    def pause_s(self) -> float:
        """Return how long it is to the next poll."""
        if self.listening is None or self._active.room.recipients or not self.listening():
            return _POLL_S
        if self._next_due_ms is None:
            return _IDLE_POLL_S
        due_s = (self._next_due_ms - self._now_ms()) / 1000
        return min(max(due_s, _POLL_S), _IDLE_POLL_S)

    async def claim(self) -> None:
        """Claim due mail and take it into the active set."""
        room, token = self._active.room, self._lease.token
        began_s, limit = self._clock.seconds(), self._isolation.most(min(room.free, _CLAIM))
        sites = self._active.sites
        over = due.PassedOver(sites.saturated(), sites.saturated(urgent=True))
        self.due, self.under_way = False, True
        room.take(limit)
        try:
            claimed = await self._claimed(limit, over)
        except SpoolUnavailable:
            return  # polling says so, and finds out when it is back
        finally:
            self.under_way = False
            room.give(limit)
        for one in claimed:
            body = StoredBody(self._database, one.envelope.id, one.chunks)
            self._active.take(one.envelope, one.recipients, body, token)
        if sum(len(one.recipients) for one in claimed) >= limit:
            self.due = True
        elif over.domains:  # a long backlog was passed over: spare the spool
            now_s = self._clock.seconds()
            self._after_s = now_s + _SPARE * (now_s - began_s)

    async def _claimed(self, limit: int, over: due.PassedOver) -> list[leases.Claimed]:
        """Claim what is due.

        A long backlog that is passed over is looked through by a reader: new mail waits for the
        writer.
        """
        token, registered_ms = self._lease.token, self._registered_ms()
        if not over.domains:
            return await self._database.write(
                leases.claim_due, token, self._now_ms(), registered_ms, limit
            )
        ids = await self._database.read(due.beyond, self._now_ms(), limit, over)
        if not ids:
            return []
        return await self._database.write(
            leases.claim_these, token, self._now_ms(), registered_ms, limit, ids, over
        )

    async def poll(self) -> bool:
        """Ask the spool whether anything is due; tell whether an operator has changed anything."""
        poll = await self._database.read(leases.poll, self._now_ms())
        self.watched_until_ms, self.restraints = poll.watched_until_ms, poll.restraints
        self._next_due_ms = poll.next_due_ms
        changed = self._wake is not None and poll.wake != self._wake
        if poll.wake != self._wake:
            if changed:
                await self._look_again()
            self._wake = poll.wake
            self.due = True
        if poll.next_due_ms is not None and poll.next_due_ms <= self._now_ms():
            self.due = True
        return changed

    async def _look_again(self) -> None:
        """Give back what waits for its turn and is not wanted any more.

        What is held or removed keeps that state; a message's other recipients come back at once.
        """
        unwanted = set(await self._database.read(leases.withdrawn, self._lease.token))
        routes = await self._database.read(leases.rerouted, self._lease.token)

        def changed(entry: Entry) -> bool:
            if not unwanted.isdisjoint(entry.keys):
                return True
            pairs = zip(entry.keys, entry.job.recipients, strict=True)
            return any(routes.get(key, "") != one.route for key, one in pairs)

        self._active.give_back(changed)

    async def give_back_strays(self) -> int:
        """Give back what is claimed for us although we never heard of it; return how many.

        That happens where a commit was done and its answer was lost, or where inbound gave a
        message up while it was being committed.  Twice unknown is a stray.
        """
        token, now_ms = self._lease.token, self._now_ms()
        claimed = await self._database.read(leases.overdue, token, now_ms)
        unknown = set(claimed) - self._active.keys() if claimed else set()
        strays, self._unknown = sorted(unknown & self._unknown), unknown - self._unknown
        if not strays:
            return 0
        self.due = True
        return await self._database.write(leases.release, token, strays, now_ms)
