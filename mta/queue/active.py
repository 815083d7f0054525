"""The active set: what of the queue is in memory, where it waits, and how it leaves.

The set is bounded twice, in recipients and in octets of bodies, whatever the length of
the queue (Postfix's leaky bucket).  Mail that has just been accepted may fill three
quarters of it; the rest is kept for what is read back from the spool, so that a stream of fresh
mail cannot starve deferred mail.  The last tenth is for fresh mail of those who have next to
nothing in the set, so that nobody's bulk keeps them out.

An entry is in the set from ``take`` until ``left``, which the ledger calls when nothing more
is to be written about it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime

from mta.mail.envelope import Body, Envelope, Recipient
from mta.mail.outcome import Outcome
from mta.mail.site import Site
from mta.queue.blocks import Blocked, SourceBlocks
from mta.queue.doubt import InDoubt, divide
from mta.queue.entry import Destination, Entry, destination_key, entries
from mta.queue.health import Health
from mta.queue.lease import Lease
from mta.queue.ledger import Ledger
from mta.queue.resolving import Resolving, SiteNames
from mta.queue.settings import QueueSettings
from mta.queue.sharing import Sharing
from mta.queue.sites import PutOff, Sites
from mta.queue.sources import Sources
from mta.spool.database import Database
from mta.spool.leases import Claimed, Key

_GUESTS = 100  # who has less than this part of the set is a guest
_UNRESOLVED_S = 5.0  # mail whose site cannot be looked up yet comes back so soon


class Room:
    """How full the active set is."""

    def __init__(self, recipients: int, octets: int) -> None:
        """Begin empty; the arguments are the bounds."""
        self.bound_recipients = recipients
        self.bound_octets = octets
        self.recipients = 0
        self.octets = 0
        self._owners: Counter[str] = Counter()

    def fits(self, recipients: int, octets: int, owner: str = "") -> bool:
        """Tell whether a message of ``owner`` that has just been accepted may stay in memory."""
        after = self.recipients + recipients
        if self.octets + octets > self.bound_octets or after > self.bound_recipients:
            return False
        if 4 * after <= 3 * self.bound_recipients:
            return True
        return owner != "" and self._owners[owner] * _GUESTS < self.bound_recipients

    @property
    def free(self) -> int:
        """How many recipients may still be claimed; the last tenth of the room is for guests."""
        kept = self.bound_recipients // 10
        return max(0, self.bound_recipients - kept - self.recipients)

    def take(self, recipients: int, octets: int = 0) -> None:
        """Use up room."""
        self.recipients += recipients
        self.octets += octets

    def give(self, recipients: int, octets: int = 0) -> None:
        """Give room back."""
        self.recipients -= recipients
        self.octets -= octets

    def enter(self, entry: Entry) -> None:
        """Take what ``entry`` needs."""
        self.recipients += entry.weight
        self._owners[entry.owner] += entry.weight

    def leave(self, entry: Entry) -> None:
        """Give back what ``entry`` took; the body's octets with the last of its message."""
        self.recipients -= entry.weight
        self._owners[entry.owner] -= entry.weight
        if not self._owners[entry.owner]:
            del self._owners[entry.owner]
        entry.charge.entries -= 1
        if not entry.charge.entries:
            self.octets -= entry.charge.octets


class ActiveSet:
    """All entries in hand: taken in, lined up for their sites, put off, given back."""

    def __init__(  # noqa: PLR0913 - what the scheduler has, it has from there
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        settings: QueueSettings,
        lease: Lease,
        ledger: Ledger,
        database: Database,
        *,
        destination: Destination,
        names: SiteNames,
        soon: Callable[[], None],
    ) -> None:
        """``destination(sender, domain)`` names the key of a destination, without errors.

        ``soon()`` is called when something has come that may be dialled or is to be written.
        """
        self._clock = clock
        self._now_ms = now_ms
        self._lease = lease
        self._ledger = ledger
        self._destination = destination
        self.room = Room(settings.active_recipients, settings.active_octets)
        self.sites: Sites[Entry] = Sites(settings.site_limits)
        self.sharing = Sharing(clock, now_ms, database, lease, self.sites, soon)
        self.resolving = Resolving(clock, names, self._resolved)
        self._names = names
        self._soon = soon
        self.blocked: Blocked | None = None  # set by who suspends; None: nobody does
        self.source_blocks: SourceBlocks | None = None  # the same, of addresses of ours
        # Whether a budget is used up; None: nobody has one
        self.waits: Callable[[Entry], PutOff | None] | None = None
        self.in_doubt: InDoubt | None = None  # None: what was perhaps delivered is tried again
        self.sources = Sources(names)
        self.site_of: Callable[[Entry], Site] | None = None  # where a source address is slower
        self._entries: set[Entry] = set()
        self.closed = False  # the service stops: what is taken is given back at once

    def close(self) -> None:
        """The service stops: take nothing in any more."""
        self.closed = True
        self.sharing.stop()

    def use(self, settings: QueueSettings) -> None:
        """Go on with other bounds; what waits lines up anew, for its site may be another one."""
        self.sites.limits = settings.site_limits
        self.sites.revive()  # a route may lead elsewhere now
        self.room.bound_recipients = settings.active_recipients
        self.room.bound_octets = settings.active_octets
        self.line_up_again()

    def line_up_again(self) -> None:
        """Let all that waits line up anew: its site may be another one, or it may be blocked."""
        for entry in self.sites.withdraw(lambda _entry: True):
            self._line_up(entry)
        self.resolving.go()

    def take(
        self, envelope: Envelope, recipients: tuple[Recipient, ...], body: Body, token: str
    ) -> None:
        """Let claimed mail in, or put it back where it cannot stay."""
        for entry in self._enter(envelope, recipients, body, token):
            self._line_up(entry)
        self.resolving.go()

    def take_claimed(self, claimed: Claimed, body: Body, token: str) -> None:
        """Let in what was read back; what its last process has perhaps delivered is settled."""
        those, envelope = claimed.recipients, claimed.envelope
        if claimed.dotted is not None and self.in_doubt is not None:
            those, found = divide(claimed, self.in_doubt)
            doubted = tuple(one for one in claimed.recipients if one.number in found)
            for entry in self._enter(envelope, doubted, body, token) if doubted else ():
                entry.site = self._names.known(entry.destination) or entry.site
                outcomes = [found[one.number] for one in entry.job.recipients]
                self._ledger.in_doubt(entry, outcomes)
        if those:
            self.take(envelope, those, body, token)

    def _enter(
        self, envelope: Envelope, recipients: tuple[Recipient, ...], body: Body, token: str
    ) -> list[Entry]:
        """Give claimed mail its room."""
        some = entries(envelope, recipients, body, token, self._destination)
        self.room.octets += some[0].charge.octets
        for entry in some:
            self.room.enter(entry)
            self._entries.add(entry)
        return some

    def put_off_ms(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> int | None:
        """Tell when a new message is due, if its one site is dead and nothing else is to be said.

        What is accepted for a dead site would only come in to be put off, which takes a second
        write: such mail stays in the spool from the first.
        """
        now_s, at_will = self._clock.seconds(), self.blocked or self.waits or self.site_of
        if not self.sites.some_dead(now_s) or at_will or envelope.asked.deliver_by is not None:
            return None
        where = {destination_key(envelope.sender, one, self._destination) for one in recipients}
        site = self._names.known(where.pop())
        wait_s = 0.0 if site is None or where else self.sites.dead_for_s(site, now_s)
        if wait_s <= 0:
            return None
        return self._ledger.quietly_ms(envelope, recipients, wait_s)

    def _line_up(self, entry: Entry) -> None:
        """Let ``entry`` wait, for its turn or for its site to be known; or give it back."""
        if self.closed or entry.token != self._lease.token:
            self._ledger.give_back(entry, self._now_ms())
            return
        site = self._names.known(entry.destination)
        if site is not None:
            entry.site = site
            self._admit(entry)
        elif self.resolving.load <= self.room.free:
            self.resolving.wait(entry)
        else:
            self._ledger.put_off(entry, _UNRESOLVED_S, "")

    def _resolved(self, entry: Entry) -> None:
        if self.closed or entry.token != self._lease.token:
            self._ledger.give_back(entry, self._now_ms())
        else:
            self._admit(entry)
        self._soon()

    def _admit(self, entry: Entry) -> None:
        """Let ``entry``, whose site is known now, wait for its turn, or put it back."""
        if self.sources.shaped:
            entry.site = self.sources.site(entry)
        if self.blocked is not None and self._divide(entry):
            return
        if self.waits is not None and self.put_off(entry):
            return
        if self.site_of is not None:
            entry.site = self.site_of(entry)
        domain, now_s = entry.job.recipients[0].domain, self._clock.seconds()
        put_off = self.sites.admit(entry, now_s, domain, self.room.free)
        if put_off is not None:
            self._ledger.put_off(entry, put_off.wait_s, put_off.why)

    def put_off(self, entry: Entry) -> bool:
        """Return ``entry`` to the spool if it has to wait for a budget; tell whether it has."""
        if self.waits is None or (found := self.waits(entry)) is None:
            return False
        self._ledger.put_off(entry, found.wait_s, found.why)
        return True

    def put_back(self, entry: Entry) -> bool:
        """Return ``entry`` to the spool if it is blocked; tell whether it was.

        If it is so for some of its recipients, all are due again at once, and then divided.
        What is not blocked is told from which addresses of ours it must not go out.
        """
        if self.blocked is None or (block := self.blocked(entry)) is None:
            suspended = self.source_blocks.sources(entry) if self.source_blocks else frozenset()
            if suspended != entry.job.suspended:
                entry.job = replace(entry.job, suspended=suspended)
            return False
        if block.free:
            self._ledger.give_back(entry, self._now_ms())
        else:
            self._ledger.hold_back(entry, block)
        return True

    def barred(self, entry: Entry, outcomes: Sequence[Outcome]) -> bool:
        """Return ``entry`` if nobody could be dialled from an address that may be used; tell so."""
        if not outcomes or not all(one.barred for one in outcomes):
            return False
        self.ended(entry, Health.UNKNOWN)
        block = self.source_blocks.waiting(entry) if self.source_blocks else None
        if block is not None and block.free:
            part = entry.part(block.free)
            self._entries.add(part)
            self._ledger.hold_back(part, block)
            block = None
        if block is not None:
            self._ledger.hold_back(entry, block)
        else:
            self._ledger.give_back(entry, self._now_ms())
        self._soon()
        return True

    def _divide(self, entry: Entry) -> bool:
        """Return what is blocked of ``entry``, which is not lined up; tell whether that is all."""
        while self.blocked is not None and (block := self.blocked(entry)) is not None:
            if not block.free:
                self._ledger.hold_back(entry, block)
                return True
            part = entry.part(block.free)
            self._entries.add(part)
            self._ledger.hold_back(part, block)
        return False

    def ended(self, entry: Entry, state: Health, why: str = "") -> None:
        """Give back the place of ``entry``; if that shows its site to be dead, put off the rest."""
        now_s = self._clock.seconds()
        drained, put_off = self.sites.finished(entry, state, now_s, why)
        if put_off is not None:
            for one in drained:
                self._ledger.put_off(one, put_off.wait_s, put_off.why)

    def give_back(self, wanted: Callable[[Entry], bool]) -> None:
        """Return what is ``wanted`` of what waits for its turn, due at once."""
        now_ms = self._now_ms()
        for entry in self._withdraw(wanted):
            self._ledger.give_back(entry, now_ms)

    def drop(self) -> int:
        """Forget all that waits for its turn: it is not ours any more; return how much it was."""
        dropped = self._withdraw(lambda _entry: True)
        for entry in dropped:
            self.left(entry)
        return len(dropped)

    def _withdraw(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        return self.sites.withdraw(wanted) + self.resolving.withdraw(wanted)

    def left(self, entry: Entry) -> None:
        """Nothing is to be done about ``entry`` any more: its room is free."""
        self._entries.discard(entry)
        self.room.leave(entry)

    def keys(self) -> set[Key]:
        """Name all claims in hand."""
        return {key for entry in self._entries for key in entry.keys}
