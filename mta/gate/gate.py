"""The gate: implements ``mta.inbound.gate.Gate``; one ``Passage`` for each client.

Made once; ``use`` puts another policy into force for clients that come from then on.
"""

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mta.dns.mx import MailExchangers
from mta.gate.brake import Learned
from mta.gate.domains import Domains
from mta.gate.passage import Passage
from mta.gate.state import Shared, Store
from mta.mail.events import Emit
from mta.policy.matching import Subject
from mta.policy.rules import Policy


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class Gate:
    """What all passages share."""

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        exchangers: MailExchangers,
        destination: Callable[[str, str], str],
        policy: Policy,
        emit: Emit,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        """``destination(sender, domain)`` is "mx:..." for mail that goes where DNS says."""
        self.clock = clock
        self.store = store
        self.domains = Domains(clock, exchangers)
        self.destination = destination
        self.policy = policy
        self.emit = emit
        self.now_ms = now_ms  # UTC; what is counted is shared, so this is the wall's clock
        self.shared = Shared(clock, store, emit, now_ms)
        self.learned = Learned(store, now_ms)

    def use(self, policy: Policy) -> None:
        """Go on with another policy."""
        self.policy = policy

    def arrive(self, listener: str, address: str, *, outside: bool = False) -> Passage:
        """Begin with a client; ``outside``: it comes from no trusted network."""
        return Passage(self, Subject(listener, address, outside=outside))
