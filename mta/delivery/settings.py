"""What delivery needs to be told."""

from dataclasses import dataclass, field

from mta.delivery.outgoing import USUAL, Outgoing
from mta.delivery.routes import Routes
from mta.delivery.securing import SecuritySettings
from mta.delivery.timeouts import Timeouts
from mta.delivery.transcript import Keep
from mta.policy.addresses import Addresses
from mta.shaping.rules import NO_SHAPING, Shaping


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Read anew at every attempt."""

    host_name: str  # what EHLO says (RFC 5321 §4.1.4): our own full name, or an address literal
    routes: Routes = field(default_factory=Routes)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_hosts: int = 5  # mail exchangers tried in one attempt
    max_addresses: int = 4  # addresses tried of one host
    max_sessions: int = 2  # hosts that may answer about the message itself in one attempt
    idle_s: float = 5.0  # how long a connection waits for more mail
    idle_connections: int = 100  # how many wait at most
    messages_per_connection: int = 100
    recipients_per_transaction: int = 100  # what any server must take (RFC 5321 §4.5.3.1.8)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    shaping: Shaping = NO_SHAPING
    addresses: Addresses | None = None  # domains of ours, and SRS for what is forwarded
    transcripts: Keep = "failures"  # of which attempts what was said is kept
    # How long one of several smarthosts is left alone, at first and at most
    smarthost_down_s: tuple[float, float] = (60.0, 900.0)
    outgoing: Outgoing = USUAL  # as whom we go out, where the route does not say it
