"""Does the resolver validate DNSSEC, as the configuration says?  Asked at start and again.

Some answers give a resolver away: no AD bit for a name that is signed, an AD bit for one that is
not, any answer at all for one that is signed wrongly.  Then its word is not taken for DANE until
it does better: mail goes as if nobody had TLSA records, and the operator is told.

A look-up that fails gives nothing away.  Whoever can make look-ups fail must not be able to
switch DANE off like that; so nothing changes then but the alarm.

Trusts: that the way to the resolver is safe; nothing here can find that out.  The root zone is
always signed; a name without DNSSEC and one that is signed wrongly are there to be asked about
only if the operator names some.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.dns.answers import Answer, DnsTemporary, NoSuchName

_SOON_S = 60.0  # to the next test, after one that was not passed


class Lookup(Protocol):
    """What is asked of a resolver; ``mta.dns.resolver.Resolver`` is one."""

    def lookup_anew(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Return the records as a server gives them now."""


@dataclass(frozen=True, slots=True)
class Probes:
    """The names that are asked about; "" for none."""

    signed: str = "."
    unsigned: str = ""
    bogus: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What is thought of the resolver."""

    off: str = ""  # why its word is not taken; "" if it is
    doubt: str = ""  # what could not be found out

    @property
    def level(self) -> str:
        """How the log is to call it."""
        return "error" if self.off else "warning" if self.doubt else "info"

    @property
    def alarm(self) -> str:
        """What an operator should know; "" for nothing."""
        if self.off:
            return f"DANE is off: {self.off}"
        return f"the resolver could not be tested: {self.doubt}" if self.doubt else ""


class Validation:
    """Tests the resolver now and then, and tells when what is thought of it changes."""

    def __init__(
        self,
        clock: IReactorTime,
        resolver: Lookup,
        probes: Probes,
        every_s: float,
        tell: Callable[[State], object],
    ) -> None:
        self.state = State()
        self._clock = clock
        self._resolver = resolver
        self._probes = probes
        self._every_s = every_s
        self._tell = tell
        self._timer: IDelayedCall | None = None
        self._test: Deferred[None] | None = None

    def start(self) -> None:
        """Test at once, and from then on."""
        self._timer = None
        self._test = Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """Test no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._test is not None:
            self._test.cancel()

    async def _run(self) -> None:
        try:
            state = await self.test()
        except CancelledError:
            return
        if state != self.state:
            self.state = state
            self._tell(state)
        wait_s = min(_SOON_S, self._every_s) if state.alarm else self._every_s
        self._timer = self._clock.callLater(wait_s, self.start)

    async def test(self) -> State:
        """Ask about each name; what a resolver has given away before holds while it is silent."""
        given_away: list[str] = []
        doubts: list[str] = []
        passed = False
        for kind, name in (
            ("signed", self._probes.signed),
            ("unsigned", self._probes.unsigned),
            ("bogus", self._probes.bogus),
        ):
            if not name:
                continue
            found = await self._ask(name)
            if isinstance(found, Answer):
                given_away += _gives_away(kind, name, found)
                passed = passed or (kind == "signed" and found.authenticated)
            elif kind != "bogus":
                doubts.append(f"{name}: {found}")
        if given_away:
            return State("; ".join(given_away))
        off = "" if passed else self.state.off
        return State(off, "; ".join(doubts))

    async def _ask(self, name: str) -> Answer | Exception:
        try:
            return await self._resolver.lookup_anew(name, "SOA")
        except (DnsTemporary, NoSuchName) as error:
            return error


def _gives_away(kind: str, name: str, found: Answer) -> list[str]:
    if kind == "signed" and not found.authenticated:
        return [f"the resolver does not say that {name}, which is signed, is authentic"]
    if kind == "unsigned" and found.authenticated:
        return [f"the resolver says that {name}, which is not signed, is authentic"]
    if kind == "bogus":
        return [f"the resolver answers for {name}, whose signatures are wrong"]
    return []
