"""What a rehearsal finds on the way of a message: values, for people and programs to read.

Filled in as the walk goes on, by ``mta.delivery.rehearsal`` alone; nothing here decides.
"""

from dataclasses import dataclass, field

from mta.delivery.outgoing import USUAL, Outgoing
from mta.delivery.routes import Route
from mta.delivery.settings import DeliverySettings
from mta.dns.mx import MailHost
from mta.mail.envelope import Recipient
from mta.mail.outcome import Outcome, Tls
from mta.mail.security import Dane, Requirement, Skip
from mta.mail.shape import ANY_SHAPE, Shape
from mta.security.facts import Sts
from mta.tls.peer_certificate import PeerCertificate


@dataclass(slots=True)
class Tried:
    """A session with one address, up to and not including MAIL."""

    address: str
    source: str = ""  # our own address
    trouble: str = ""  # why there was none
    keywords: tuple[str, ...] = ()  # of EHLO, in alphabetical order
    tls: Tls = field(default_factory=Tls)
    certificate: PeerCertificate | None = None


@dataclass(slots=True)
class HostOnRoad:
    """A host, in the order in which delivery would try them."""

    name: str
    port: int
    found: MailHost
    required: Requirement | Skip | None = None  # None: the walk has not come so far
    dane: Dane | None = None  # its facts; None: nobody asked
    sts: Sts | None = None  # what the domain's policy says of it; None: nothing, or nobody asked
    addresses: tuple[str, ...] = ()
    trouble: str = ""  # why it has no addresses
    tried: list[Tried] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it would be dialled."""
        return isinstance(self.required, Requirement) and bool(self.addresses)


@dataclass(slots=True)
class Road:
    """The way of one message to recipients at one destination, under one sender."""

    recipients: tuple[Recipient, ...]
    sender: str  # that the next hop is told
    route: Route
    domain: str  # of the recipients; "" where the route leads elsewhere than to its exchangers
    settings: DeliverySettings  # in force for these hosts
    shape: Shape = ANY_SHAPE  # that they come from
    outgoing: Outgoing = USUAL  # as whom it goes out
    hosts: list[HostOnRoad] = field(default_factory=list)
    all_hosts: tuple[MailHost, ...] = ()  # the DNS's, those beyond ``max_hosts`` too
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def further(self) -> list[MailHost]:
        """Hosts that are not tried in one attempt."""
        seen = {one.name for one in self.hosts}
        return [one for one in self.all_hosts if one.name not in seen]
