"""Whether a list can be believed: tested at the start, and again and again (RFC 5782 §5).

A list that is shut down may answer nothing, or everything; a resolver that a list does not
serve gets answers that mean "go away".  So each list must have the address that is on every
list and must not have the one that is on none; until it passes it is out of force.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.dns.answers import DnsTemporary, NoSuchName
from mta.dns.mx import Lookup
from mta.dnsbl.zone import TESTS, Blocklist, Meaning, meaning, query_name
from mta.mail.events import Emit, Note

AGAIN_S = 60.0  # until the next test of a list that has failed


class Health:
    """The state of one list."""

    def __init__(
        self, clock: IReactorTime, lookup: Lookup, blocklist: Blocklist, emit: Emit, every_s: float
    ) -> None:
        self._clock = clock
        self._lookup = lookup
        self._zone = blocklist.zone
        self._emit = emit
        self.every_s = every_s
        self._in_force: dict[int, bool | None] = {4: None, 6: None}  # None: not known yet
        self._silent = False
        self._call: IDelayedCall | None = None
        self._testing: Deferred[None] | None = None

    def in_force(self, version: int) -> bool:
        """Tell whether clients with such addresses (4, 6) are looked up."""
        return bool(self._in_force[version])

    def test(self) -> None:
        """Test it now, and then regularly."""
        if self._testing is not None:
            return
        self.stop()
        self._testing = Deferred.fromCoroutine(self._test())
        if self._testing.called:
            self._testing = None

    async def once(self) -> None:
        """Test it now, and not again."""
        await self._test()
        self.stop()

    def stop(self) -> None:
        """Test it no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        testing, self._testing = self._testing, None
        if testing is not None:
            testing.addErrback(lambda _: None)
            testing.cancel()

    def unusable(self, answer: str) -> None:
        """Hear that the list gave an answer to a client's address that no list gives."""
        self._put(4, f"it answers {answer}")
        if self._in_force[6]:
            self._in_force[6] = False
        self._plan(AGAIN_S)

    def silent(self, problem: str) -> None:
        """Hear that a client could not be looked up."""
        if not self._silent:
            self._silent = True
            text = f"{self._zone} cannot be asked, clients pass unlisted: {problem}"
            self._emit(Note("warning", "dnsbl", text))

    def answered(self) -> None:
        """Hear that one could be."""
        if self._silent:
            self._silent = False
            self._emit(Note("info", "dnsbl", f"{self._zone} can be asked again"))

    async def _test(self) -> None:
        try:
            for version in TESTS:
                try:
                    self._put(version, await self._problem(version))
                except DnsTemporary as error:
                    self._not_known(version, str(error))
        finally:
            self._testing = None
        self._plan(self.every_s if self._in_force[4] else AGAIN_S)

    def _plan(self, seconds: float) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = self._clock.callLater(seconds, self.test)

    async def _problem(self, version: int) -> str:
        """Return what is wrong with the list; "" if nothing is.  Raises ``DnsTemporary``."""
        listed, free = TESTS[version]
        found, answer = await self._ask(query_name(listed, self._zone))
        if found is Meaning.UNUSABLE:
            return f"it answers {answer}"
        if found is Meaning.NOT_LISTED:
            return f"{listed}, which is on every list, is not on it"
        found, answer = await self._ask(query_name(free, self._zone))
        if found is not Meaning.NOT_LISTED:
            return f"{free}, which is on no list, is on it ({answer})"
        return ""

    async def _ask(self, name: str) -> tuple[Meaning, str]:
        try:
            return meaning((await self._lookup.lookup(name, "A")).texts)
        except NoSuchName:
            return Meaning.NOT_LISTED, ""

    def _put(self, version: int, problem: str) -> None:
        before, self._in_force[version] = self._in_force[version], not problem
        if before is not None and before == (not problem):
            return
        if problem and version == 4:
            self._emit(Note("error", "dnsbl", f"{self._zone} is out of force: {problem}"))
        elif problem:
            text = f"{self._zone} is not asked about IPv6 clients: {problem}"
            self._emit(Note("warning" if before else "info", "dnsbl", text))
        else:
            self._emit(Note("info", "dnsbl", f"{self._zone} is in force for IPv{version}"))

    def _not_known(self, version: int, problem: str) -> None:
        """A list that has passed stays in force: if DNS is away, nobody is found on it anyway."""
        if self._in_force[version] is None and version == 4:
            self.silent(problem)
