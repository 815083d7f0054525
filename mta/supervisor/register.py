"""What the spool knows of the supervisor and of workers that are not there.

The supervisor is a node without claims: one row under its own lease, so that ``mta status`` shows
it and its alarms.  When a worker has died its claims are given back at once: who has waited for the
process knows that it is gone, and need not wait for its lease.
"""

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mta import identity
from mta.mail.events import Emit, Note
from mta.queue.housekeeping import Periodic
from mta.queue.lease import Lease
from mta.spool import alarms, leases, succession
from mta.spool.clock import SpoolClock
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable

_ALARM = "worker "


class Register:
    """The supervisor's row, its alarms, and the claims of the dead."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        node: str,
        workers: int,
        emit: Emit,
        time: SpoolClock,
    ) -> None:
        """``time`` is what all processes of the spool go by."""
        self.lease_s = 180.0  # may be replaced at any time
        self._database = database
        self._node = node
        self._emit = emit
        about = {leases.ROLE: leases.SUPERVISOR, "workers": str(workers)}
        self._now_ms = time.now_ms
        self._lease = Lease(clock, database, node, time.now_ms, emit, about)
        self._lease.spool_clock = time
        duty = "renewing the supervisor's lease"
        self._renewal = Periodic(clock, emit, duty, lambda: self.lease_s / 3, self._renew)
        self._told = ""

    def start(self) -> None:
        """Register, and stay so; what an earlier run has said is over."""
        self._write(alarms.forget, self._node, _ALARM)
        Deferred.fromCoroutine(self._lease.register(self.lease_s)).addErrback(
            lambda failure: self._note(str(failure.value))
        )
        self._renewal.start()

    async def _renew(self) -> None:
        if not self._lease.token or not await self._lease.renew(self.lease_s):
            await self._lease.register(self.lease_s)
            self._tell()

    def down(self, nodes: Iterable[str]) -> None:
        """Say which workers are not there now."""
        told, self._told = self._told, " ".join(nodes)
        if told != self._told:
            self._tell()

    def _tell(self) -> None:
        if self._lease.token:
            self._write(leases.say, self._lease.token, leases.DOWN, self._told)

    def bury(self, node: str, pid: int) -> None:
        """Give back what the dead process ``pid`` had in hand as ``node``."""
        done = self._database.write(succession.bury, pid, self._now_ms(), identity.is_here)
        done.addCallback(self._buried, node)
        done.addErrback(lambda failure: self._note(str(failure.value)))

    def _buried(self, count: int, node: str) -> None:
        if count:
            text = f"{count} recipients that worker {node} had in hand are due again"
            self._emit(Note("info", "service", text))

    def alarm(self, number: int, text: str) -> None:
        """Raise an alarm about a worker; with an empty text take it back."""
        self._write(alarms.put, self._node, f"{_ALARM}{number}", text, self._now_ms())

    async def stop(self) -> None:
        """Take the row away, and all alarms."""
        self._renewal.stop()
        try:
            await self._database.write(alarms.forget, self._node, _ALARM)
        except SpoolUnavailable as error:
            self._note(str(error))
        await self._lease.give_up()

    def _write(self, fn: Callable[..., None], *arguments: object) -> None:
        done = self._database.write(fn, *arguments)
        done.addErrback(lambda failure: self._note(str(failure.value)))

    def _note(self, text: str) -> None:
        self._emit(Note("warning", "service", text))
