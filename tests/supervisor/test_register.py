"""What the spool knows of a supervisor, on a real database."""

from typing import Any

from twisted.internet.task import Clock

from mta import identity
from mta.mail.events import Note
from mta.spool import alarms, leases
from mta.spool.clock import SpoolClock
from mta.supervisor.register import Register


def register(spool: Any, notes: list[Note]) -> Register:
    """The register of the supervisor "relay"."""
    clock, emit = Clock(), notes.append
    time = SpoolClock(clock, emit, spool.url)  # type: ignore[arg-type]
    return Register(clock, spool.database, "relay", 2, emit, time)  # type: ignore[arg-type]


def written(spool: Any, fn: Any, *arguments: Any) -> None:
    """Write, and wait for it; what was asked for before is done by then."""
    spool.wait(spool.database.write(fn, *arguments))


def test_what_an_earlier_run_has_said_is_over(spool: Any) -> None:
    """A supervisor that was killed took no alarm back; those of others are left alone."""
    written(spool, alarms.put, "relay", "worker 1", "killed", 5)
    written(spool, alarms.put, "relay", "dns", "silent", 5)
    written(spool, alarms.put, "other", "worker 1", "killed", 5)
    register(spool, []).start()
    written(spool, lambda conn: None)
    left = spool.wait(spool.database.read(alarms.everybodys))
    assert [(one.node, one.name) for one in left] == [("other", "worker 1"), ("relay", "dns")]
    for _ in range(1000):  # on PostgreSQL it asks for the time first
        found = spool.wait(spool.database.read(leases.everyone))
        if found:
            break
    (node,) = found
    assert node.supervises
    assert node.about["workers"] == "2"


def test_a_dead_worker_is_no_node_any_more(spool: Any) -> None:
    """Its process is known by the number that it had here."""
    about = identity.oneself() | {"pid": "4711"}
    written(spool, leases.register_node, "relay/1", "t", 0, 60_000, about)
    register(spool, []).bury("relay/1", 4711)
    written(spool, lambda conn: None)
    assert spool.wait(spool.database.read(leases.everyone)) == []
