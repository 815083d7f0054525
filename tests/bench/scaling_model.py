"""How many messages a second N nodes on one PostgreSQL do: a model, from what one node costs.

Each of four things has a most it can do, and the least of them is what all together do::

    X(N) = min(N q / a,  D / b,  C / (a + b + g),  W / (w + p c))

A commit writes the last page of the log that was begun by the one before, p octets, once more.
It says nothing of waiting: each node has enough clients to be busy all the time.
"""

from dataclasses import dataclass

PAGE_OCTETS = 8192  # p


@dataclass(frozen=True, slots=True)
class Costs:
    """What one message costs: milliseconds of a processor, octets of the database's log (WAL)."""

    relay_ms: float  # a
    database_ms: float  # b
    beside_ms: float  # g: of who sends and who receives, where they are on the same machine
    wal_octets: float  # w
    commits: float  # c

    @property
    def disk_octets(self) -> float:
        """What the disk of the log has to write for it."""
        return self.wal_octets + PAGE_OCTETS * self.commits


@dataclass(frozen=True, slots=True)
class Room:
    """What there is: cores, and octets a second."""

    node_cores: float  # q, of one node
    database_cores: float  # D
    cores: float  # C, of the machine that all are on
    disk_octets: float  # W


@dataclass(frozen=True, slots=True)
class Limit:
    """Messages a second, and what has no more."""

    rate: float
    what: str


def limits(costs: Costs, room: Room, nodes: int) -> list[Limit]:
    """Return what each part could do if it were the only one with a bound, the least first."""
    together_ms = costs.relay_ms + costs.database_ms + costs.beside_ms
    found = [
        Limit(nodes * room.node_cores * 1000 / costs.relay_ms, "nodes"),
        Limit(room.database_cores * 1000 / costs.database_ms, "database"),
        Limit(room.cores * 1000 / together_ms, "machine"),
        Limit(room.disk_octets / costs.disk_octets, "WAL"),
    ]
    return sorted(found, key=lambda limit: limit.rate)


def predicted(costs: Costs, room: Room, nodes: int) -> Limit:
    """Return what so many nodes do together, and what keeps them from more."""
    return limits(costs, room, nodes)[0]


def enough(costs: Costs, room: Room) -> float:
    """Return the number of nodes from which on the database, or its disk, is the limit."""
    end = min(room.database_cores * 1000 / costs.database_ms, room.disk_octets / costs.disk_octets)
    return end * costs.relay_ms / 1000 / room.node_cores


def deviation(found: float, expected: float) -> float:
    """Return how far what was found is from what was expected: 0.05 is five hundredths more."""
    return found / expected - 1
