"""The active set: what of the queue is in memory, where it waits, and how it leaves.

The set is bounded twice, in recipients and in octets of bodies, whatever the length of
the queue (Postfix's leaky bucket).  Mail that has just been accepted may fill three
quarters of it; the rest is kept for what is read back from the spool, so that a stream of fresh
mail cannot starve deferred mail.

An entry is in the set from ``take`` until ``left``, which the ledger calls when nothing more
is to be written about it.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mta.mail.envelope import Body, Envelope, Recipient
from mta.queue.destinations import Destinations, Health
from mta.queue.entry import Destination, Entry, entries
from mta.queue.lease import Lease
from mta.queue.ledger import Ledger
from mta.queue.settings import QueueSettings
from mta.spool.leases import Key


class Room:
    """How full the active set is."""

    def __init__(self, recipients: int, octets: int) -> None:
        """Begin empty; the arguments are the bounds."""
        self.bound_recipients = recipients
        self.bound_octets = octets
        self.recipients = 0
        self.octets = 0

    def fits(self, recipients: int, octets: int) -> bool:
        """Tell whether a message just accepted may stay in memory."""
        return (
            4 * (self.recipients + recipients) <= 3 * self.bound_recipients
            and self.octets + octets <= self.bound_octets
        )

    @property
    def free(self) -> int:
        """How many recipients may still be claimed."""
        return max(0, self.bound_recipients - self.recipients)

    def take(self, recipients: int, octets: int = 0) -> None:
        """Use up room."""
        self.recipients += recipients
        self.octets += octets

    def give(self, recipients: int, octets: int = 0) -> None:
        """Give room back."""
        self.recipients -= recipients
        self.octets -= octets

    def leave(self, entry: Entry) -> None:
        """Give back what ``entry`` took; the body's octets with the last of its message."""
        self.recipients -= entry.weight
        entry.charge.entries -= 1
        if not entry.charge.entries:
            self.octets -= entry.charge.octets


class ActiveSet:
    """All entries in hand: taken in, lined up for their destinations, put off, given back."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        settings: QueueSettings,
        lease: Lease,
        ledger: Ledger,
        destination: Destination,
    ) -> None:
        """``destination(sender, domain)`` names the key under which mail is gathered; no errors."""
        self._clock = clock
        self._now_ms = now_ms
        self._lease = lease
        self._ledger = ledger
        self._destination = destination
        self.room = Room(settings.active_recipients, settings.active_octets)
        self.destinations: Destinations[Entry] = Destinations(settings.destination_limits)
        self._entries: set[Entry] = set()
        self.closed = False  # the service stops: what is taken is given back at once

    def use(self, settings: QueueSettings) -> None:
        """Go on with other bounds."""
        self.destinations.limits = settings.destination_limits
        self.destinations.revive()  # a route may lead elsewhere now
        self.room.bound_recipients = settings.active_recipients
        self.room.bound_octets = settings.active_octets

    def take(
        self, envelope: Envelope, recipients: tuple[Recipient, ...], body: Body, token: str
    ) -> None:
        """Let claimed mail in, or put it back where it cannot stay."""
        now_s = self._clock.seconds()
        some = entries(envelope, recipients, body, token, self._destination)
        self.room.octets += some[0].charge.octets
        for entry in some:
            self.room.take(entry.weight)
            self._entries.add(entry)
            if self.closed or token != self._lease.token:
                self._ledger.give_back(entry, self._now_ms())
            else:
                domain = entry.job.recipients[0].domain
                put_off = self.destinations.admit(entry, now_s, domain, self.room.free)
                if put_off is not None:
                    self._ledger.put_off(entry, put_off.wait_s, put_off.why)

    def ended(self, entry: Entry, state: Health, why: str = "") -> None:
        """Give back the place of ``entry``; if that shows its site to be dead, put off the rest."""
        now_s = self._clock.seconds()
        drained, put_off = self.destinations.finished(entry, state, now_s, why)
        if put_off is not None:
            for one in drained:
                self._ledger.put_off(one, put_off.wait_s, put_off.why)

    def give_back(self, wanted: Callable[[Entry], bool]) -> None:
        """Return what is ``wanted`` of what waits for its turn, due at once."""
        now_ms = self._now_ms()
        for entry in self.destinations.withdraw(wanted):
            self._ledger.give_back(entry, now_ms)

    def drop(self) -> int:
        """Forget all that waits for its turn: it is not ours any more; return how much it was."""
        dropped = self.destinations.withdraw(lambda _entry: True)
        for entry in dropped:
            self.left(entry)
        return len(dropped)

    def left(self, entry: Entry) -> None:
        """Nothing is to be done about ``entry`` any more: its room is free."""
        self._entries.discard(entry)
        self.room.leave(entry)

    def keys(self) -> set[Key]:
        """Name all claims in hand."""
        return {key for entry in self._entries for key in entry.keys}
