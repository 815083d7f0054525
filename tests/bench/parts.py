"""What the parts of the main road cost by themselves, in memory: microseconds of CPU a message.

A shared machine disturbs only upwards, so each figure is the least of many batches, and is good
for a comparison with the same figure of another tree on the same machine (``PYTHONPATH``), taken in
turn.  Sockets, threads waiting for each other, and the disk are not in it: ``make bench`` has them.

    python tests/bench/parts.py [PART ...]
"""

import ipaddress
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mta.inbound.listener import Inbound
from mta.inbound.settings import AuthMode, InboundSettings, ListenerSettings, TlsMode
from mta.log.mail_log import MailLog, Stamp
from mta.mail.envelope import Envelope, Origin, Recipient
from mta.mail.outcome import Blame, Outcome, Peer, Verdict
from mta.mail.queue_id import new_queue_id
from mta.spool import intake, outcomes
from mta.spool.database import Database
from mta.spool.engine import prepare
from mta.spool.intake import Intake, Reservation
from mta.spool.outcomes import Record, Settled
from mta.spool.state import State

_BODY = (
    b"From: <sender@client.test>\r\nTo: <recipient@sink.test>\r\n"
    b"Date: Wed, 25 Nov 2026 10:00:00 +0000 (UTC)\r\nMessage-Id: <1@client.test>\r\n\r\n"
    + 125
    * (b"X" * 78 + b"\r\n")
)
_DIALOGUE = (
    b"EHLO client.test\r\n",
    b"MAIL FROM:<sender@client.test>\r\n",
    b"RCPT TO:<recipient@sink.test>\r\n",
    b"DATA\r\n",
    _BODY[:4096],
    _BODY[4096:],
    b".\r\n",
    b"QUIT\r\n",
)
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_TOKEN = "t" * 32
_TOGETHER = 8  # writes in one transaction: as many as meet at 20 clients


class _Spool:
    """Takes everything at once and keeps nothing."""

    def write_together(self, _fn: Any, _item: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        Clock().callLater(0, done.callback, None)
        done.callback(None)
        return done

    write = read = write_together


class _Queue:
    """Has room for everything."""

    def reserve(self, recipients: int, octets: int, owner: str) -> Reservation:
        return Reservation(_TOKEN, 0)

    def put_off_ms(self, *_what: Any) -> None:
        return None

    def accepted(self, *_what: Any) -> None:
        pass

    def cancel(self, *_what: Any) -> None:
        pass


class _Sink:
    """A log that is written nowhere."""

    def write(self, lines: list[str]) -> None:
        pass

    def close(self) -> None:
        pass


def inbound() -> Callable[[], int]:
    """Take in a message over a connection of its own, with its log lines."""
    clock: Any = Clock()
    listener = ListenerSettings(
        "plain", "tcp:25", TlsMode.NONE, AuthMode.NONE, trusted=(_LOOPBACK,)
    )
    log = MailLog(clock, [(_Sink(), Stamp("host", dated=True))])
    side = Inbound(
        clock,
        InboundSettings("relay.test", (listener,)),
        database=_Spool(),  # type: ignore[arg-type]
        handover=_Queue(),
        accounts=None,
        certificates=None,
        emit=log,
    )
    factory = side.factory(listener)
    address = IPv4Address("TCP", "127.0.0.1", 40000)
    gone = Failure(ConnectionDone())

    def batch() -> int:
        for _ in range(100):
            protocol: Any = factory.buildProtocol(address)
            wire = StringTransport(peerAddress=address)
            protocol.makeConnection(wire)
            for octets in _DIALOGUE:
                protocol.dataReceived(octets)
            assert b"queued as" in wire.value()
            protocol.connectionLost(gone)
        clock.advance(1)
        return 100

    return batch


def _item(number: int, now_ms: int) -> Intake:
    id = new_queue_id(now_ms)
    origin = Origin(
        listener="plain", client_address="127.0.0.1", client_name="client.test", protocol="ESMTP"
    )
    envelope = Envelope(
        id, "sender@client.test", len(_BODY), now_ms, now_ms + 432_000_000, origin=origin,
        message_id=f"<{id}@client.test>",
    )  # fmt: skip
    people = (Recipient(0, "recipient@sink.test", "sink.test", 1),)
    return Intake(envelope, people, (_BODY,), now_ms + 300_000, _TOKEN)


def _record(item: Intake, now_ms: int) -> Record:
    peer = Peer("127.0.0.1", "127.0.0.1", 25)
    outcome = Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "Ok", "end of data", Blame.NONE, peer)
    settled = (Settled(item.recipients[0], outcome, State.DELIVERED, 0),)
    return Record(item.envelope.id, _TOKEN, "node", now_ms, now_ms, settled)


class _Reactor:
    """What ``Database`` asks of the reactor while nothing runs."""

    def seconds(self) -> float:
        return 0.0

    def callLater(self, *_what: Any) -> Any:
        return None

    callFromThread = callLater


def spool(together: int, *, outcome: bool) -> Callable[[], int]:
    """Accept messages, or record that they were delivered, so many in a transaction."""
    directory = tempfile.TemporaryDirectory()
    url = f"sqlite:///{Path(directory.name)}/spool.sqlite"
    prepare(url)
    database: Any = Database(url, _Reactor(), emit=lambda _event: None)  # type: ignore[arg-type]
    made = iter(range(1 << 40))
    database.kept = directory

    def write(fn: Any, items: Sequence[Any]) -> None:
        for item in items:
            database.write_together(fn, item)
        answers = database._commit(database._next_batch(), 1e18)
        assert not any(isinstance(result, Failure) for _, result in answers), answers[0]

    database._open = True

    def batch() -> int:
        now_ms = time.time_ns() // 1_000_000
        items = [_item(next(made), now_ms) for _ in range(together)]
        records = [_record(item, now_ms) for item in items]
        began = time.thread_time()
        write(intake.accept, items)
        took = time.thread_time() - began
        began = time.thread_time()
        write(outcomes.record, records)
        batch.took = time.thread_time() - began if outcome else took  # type: ignore[attr-defined]
        return together

    return batch


PARTS: dict[str, Callable[[], Callable[[], int]]] = {
    "inbound, one connection": inbound,
    "spool, accepting alone": lambda: spool(1, outcome=False),
    "spool, accepting 8 together": lambda: spool(_TOGETHER, outcome=False),
    "spool, one outcome": lambda: spool(1, outcome=True),
    "spool, 8 outcomes together": lambda: spool(_TOGETHER, outcome=True),
}


def least(batch: Callable[[], int], seconds: float = 2.0) -> float:
    """Return the microseconds a message of the cheapest batch."""
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(found) < 5:
        began = time.thread_time()
        count = batch()
        took = getattr(batch, "took", time.thread_time() - began)
        found.append(took / count)
    found.sort()
    return 1e6 * found[len(found) // 20]  # not the very least, which may be an accident


def main(names: Sequence[str]) -> None:
    """Print them all."""
    for name, make in PARTS.items():
        if not names or any(one in name for one in names):
            print(f"{name:28} {least(make()):7.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
