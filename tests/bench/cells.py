"""What is measured: the cells of the table, and the destinations both servers know.

One configuration of each server serves every scenario, because the recipient's domain
says what becomes of a message.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

DEFER_DOMAIN = "defer.test"  # deferred at once, without an attempt over the network
SINK_DOMAIN = "sink.test"  # to the fast sink, which only counts
TLS_DOMAIN = "tls.test"  # to the sink that takes mail by STARTTLS, which counts and times
TIMED_DOMAIN = "timed.test"  # to the sink that says how old each message is

SENDER_DOMAIN = "client.test"  # whose key signs
SELECTOR = "bench"

LOGIN = "bench"
PASSWORD = "bench-secret"


class Scenario(StrEnum):
    """One kind of work."""

    ACCEPT = "accept"
    RELAY = "relay"
    RELAY_TLS = "relay tls"
    RELAY_DKIM = "relay dkim"
    SMTPS_1 = "smtps x1"
    SMTPS_10 = "smtps x10"

    @property
    def secure(self) -> bool:
        """Whether clients use implicit TLS and AUTH PLAIN."""
        return self in {Scenario.SMTPS_1, Scenario.SMTPS_10}

    @property
    def relays(self) -> bool:
        """Whether the mail is to arrive somewhere."""
        return self in {Scenario.RELAY, Scenario.RELAY_TLS, Scenario.RELAY_DKIM}

    @property
    def signs(self) -> bool:
        """Whether each message gets a DKIM signature, RSA-2048."""
        return self is Scenario.RELAY_DKIM

    @property
    def per_connection(self) -> int:
        """How many messages a client sends before it connects anew."""
        return 10 if self is Scenario.SMTPS_10 else 1

    @property
    def domain(self) -> str:
        """Whither the messages of throughput runs go."""
        if self is Scenario.RELAY_TLS:
            return TLS_DOMAIN
        return SINK_DOMAIN if self.relays else DEFER_DOMAIN


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table: a scenario at a number of clients and a message size in octets."""

    scenario: Scenario
    clients: int
    size: int

    def __str__(self) -> str:
        plural = "s" if self.clients > 1 else ""
        return f"{self.scenario}, {self.clients} client{plural}, {self.size // 1024} KB"


TARGET_CLIENTS, TARGET_SIZE = 20, 10 * 1024
ONE_CLIENT = Cell(Scenario.ACCEPT, 1, TARGET_SIZE)  # nothing to batch: latency
MANY_CLIENTS = Cell(Scenario.ACCEPT, 100, TARGET_SIZE)
_SINGLE = {"one client": ONE_CLIENT, "100 clients": MANY_CLIENTS}
NAMES = [*map(str, Scenario), *_SINGLE]  # of what can be chosen

_CLIENTS = (1, 20, 100)
_SIZES = (1024, 10 * 1024, 100 * 1024)


def quick() -> list[Cell]:
    """The cells that the targets are about."""
    usual_clients = [Cell(scenario, TARGET_CLIENTS, TARGET_SIZE) for scenario in Scenario]
    return [usual_clients[0], ONE_CLIENT, MANY_CLIENTS, *usual_clients[1:]]


def usual() -> list[Cell]:
    """10 KB at every number of clients, every size at 20 clients."""
    return [one for one in full() if one.size == TARGET_SIZE or one.clients == TARGET_CLIENTS]


def full() -> list[Cell]:
    """Everything."""
    return [
        Cell(scenario, clients, size)
        for scenario in Scenario
        for size in _SIZES
        for clients in _CLIENTS
    ]


def only(cells: Sequence[Cell], names: Collection[str]) -> list[Cell]:
    """Return those of ``cells`` that one of ``NAMES`` means; no names: all."""
    single = [_SINGLE[name] for name in names if name in _SINGLE]
    return [one for one in cells if not names or one.scenario in names or one in single]
