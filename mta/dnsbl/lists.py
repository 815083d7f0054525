"""All lists: a client is looked up in those that are in force, in all at the same time.

Whoever cannot be looked up, or not in time, is not listed: DNS that fails stops no mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mta.dns.answers import DnsTemporary, NoSuchName
from mta.dns.mx import Lookup
from mta.dnsbl.health import Health
from mta.dnsbl.zone import Blocklist, Meaning, client, meaning, query_name
from mta.mail.events import Emit
from mta.policy.decision import Action, Decision, hold, refuse

LATE_S = 10.0  # from the connection; later answers are not waited for


@dataclass(frozen=True, slots=True)
class Listing:
    """A client is on a list."""

    blocklist: Blocklist
    address: str
    answer: str  # the list's addresses, which say why

    @property
    def reason(self) -> str:
        """For the log and the history."""
        return f"listed by {self.blocklist.zone}: {self.address} ({self.answer})"

    @property
    def decision(self) -> Decision:
        """What comes of it."""
        action = self.blocklist.action
        if action is Action.REFUSE:
            text = self.blocklist.text.replace("{address}", self.address)
            return refuse(self.reason, 550, "5.7.1", text.replace("{zone}", self.blocklist.zone))
        return hold(self.reason) if action is Action.HOLD else Decision(action, self.reason)


class Lists:
    """Made once; ``use`` takes other lists."""

    def __init__(
        self,
        clock: IReactorTime,
        lookup: Lookup,
        blocklists: Sequence[Blocklist],
        emit: Emit,
        every_s: float = 600.0,
    ) -> None:
        """``every_s`` is the time between two tests of a list that has passed."""
        self._clock = clock
        self._lookup = lookup
        self._emit = emit
        self._lists: dict[Blocklist, Health] = {}
        self._running = False
        self.use(blocklists, every_s)

    def __bool__(self) -> bool:
        """Tell whether there is any list."""
        return bool(self._lists)

    def use(self, blocklists: Sequence[Blocklist], every_s: float) -> None:
        """Ask these from now on; what was known of a list stays known."""
        by_zone = {one.zone: health for one, health in self._lists.items()}
        former, self._lists = self._lists, {}
        for one in blocklists:
            health = by_zone.pop(one.zone, None)
            if health is not None:
                health.every_s = every_s
            else:
                health = Health(self._clock, self._lookup, one, self._emit, every_s)
                if self._running:
                    health.test()
            self._lists[one] = health
        kept = set(map(id, self._lists.values()))
        for health in former.values():
            if id(health) not in kept:
                health.stop()

    def start(self) -> None:
        """Begin to test."""
        self._running = True
        for health in self._lists.values():
            health.test()

    async def test(self) -> None:
        """Test all of them once: for whoever asks once."""
        for health in self._lists.values():
            await health.once()

    def stop(self) -> None:
        """End all tests."""
        self._running = False
        for health in self._lists.values():
            health.stop()

    def look(self, address: str) -> "Looking | None":
        """Begin to look a client up; None if there is no list to ask."""
        found = client(address)
        if found is None:
            return None
        asked = [
            (one, health) for one, health in self._lists.items() if health.in_force(found.version)
        ]
        if not asked:
            return None
        return Looking([
            Deferred.fromCoroutine(
                self._ask(one, health, query_name(found, one.zone), str(found))
            ).addTimeout(LATE_S, self._clock, lambda *_: None)
            for one, health in asked
        ])  # fmt: skip

    async def _ask(
        self, blocklist: Blocklist, health: Health, name: str, address: str
    ) -> Listing | None:
        try:
            answer = await self._lookup.lookup(name, "A")
        except NoSuchName:
            health.answered()
            return None
        except DnsTemporary as error:
            health.silent(str(error))
            return None
        health.answered()
        found, said = meaning(answer.texts, blocklist.codes)
        if found is Meaning.UNUSABLE:
            health.unusable(said)
        return Listing(blocklist, address, said) if found is Meaning.LISTED else None


class Looking:
    """One client being looked up."""

    def __init__(self, asked: list["Deferred[Listing | None]"]) -> None:
        self._asked = asked
        self._found: tuple[Listing, ...] | None = None

    async def listings(self) -> tuple[Listing, ...]:
        """Wait for all, and return where the client is listed: refusing lists first."""
        if self._found is None:
            found = [await one for one in self._asked]
            order = [Action.REFUSE, Action.HOLD, Action.ACCEPT]
            self._found = tuple(
                sorted(filter(None, found), key=lambda one: order.index(one.blocklist.action))
            )
        return self._found

    def cancel(self) -> None:
        """The client has gone."""
        for one in self._asked:
            one.addErrback(lambda _: None)
            one.cancel()
