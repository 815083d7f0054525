"""What the tests of the spool share: mail that is quickly made, and a spool to put it in."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, text

from mta.mail.envelope import Envelope, Origin, Recipient
from mta.mail.outcome import Outcome, Peer, Timing, Tls, TlsLevel, Verdict
from mta.mail.queue_id import new_queue_id
from mta.spool import intake, leases
from mta.spool.engine import create_engine, reading, writing
from mta.spool.intake import Intake
from mta.spool.outcomes import Record, Settled
from mta.spool.schema import State

NOW = 1_800_000_000_000
TOKEN = "token-of-this-run"
PEER = Peer("mx.example.com", "192.0.2.7", 25, Tls(TlsLevel.VERIFIED, "TLSv1.3", "AES"), use=2)


class Mail:
    """Makes messages, and what comes of them; ids go up with each message."""

    now = NOW
    token = TOKEN
    peer = PEER

    def __init__(self) -> None:
        self._numbers = count(1)

    def intake(self, *addresses: str, claim: str | None = None, **changes: Any) -> Intake:
        """Make a message to ``addresses``; ``changes`` are fields of intake or envelope."""
        created = changes.pop("created_ms", NOW)
        names = ("chunks", "stored", "held", "remarks")
        taken = {key: changes.pop(key) for key in names if key in changes}
        due = changes.pop("next_attempt_ms", NOW + 60_000 if claim else created)
        bits = next(self._numbers)
        message_id = new_queue_id(created, lambda _: bits)
        envelope = Envelope(
            id=message_id,
            sender="app@example.org",
            size=10,
            created_ms=created,
            expires_ms=created + 4 * 86_400_000,
            message_id=f"<{bits}@example.org>",
            origin=Origin("smtps", "192.0.2.1", "client.example.org", "app7", "ESMTPSA", "TLSv1.3"),
        )
        return Intake(
            envelope=replace(envelope, **changes),
            recipients=tuple(
                Recipient(n, address, address.rpartition("@")[2].lower(), int(claim is not None))
                for n, address in enumerate(addresses or ("anna@example.com",))
            ),
            chunks=taken.get("chunks", (b"0123456789",)),
            next_attempt_ms=due,
            claim=claim,
            stored=taken.get("stored", 0),
            held=taken.get("held", ""),
            remarks=taken.get("remarks", ()),
        )

    def settled(self, number: int, state: State, attempts: int = 1, **changes: Any) -> Settled:
        """Say what becomes of recipient ``number``."""
        verdict, code, enhanced, words = {
            State.DELIVERED: (Verdict.DELIVERED, 250, "2.0.0", "Ok: queued"),
            State.QUEUED: (Verdict.DEFERRED, 451, "4.7.1", "Greylisted, try again"),
            State.BOUNCED: (Verdict.FAILED, 550, "5.1.1", "No such user"),
            State.EXPIRED: (Verdict.DEFERRED, 451, "4.7.1", "Greylisted, try again"),
        }[state]
        outcome = Outcome(
            number, verdict, code, enhanced, words, "RCPT", peer=PEER, timing=Timing(0.25, 0.5)
        )
        recipient = Recipient(number, "", "", attempts)
        return Settled(recipient, outcome, state, NOW + 300_000, **changes)

    def record(self, item: Intake, *settled: Settled, **changes: Any) -> Record:
        """Say what came of an attempt for ``item``; by default all of it is delivered."""
        everyone = [self.settled(r.number, State.DELIVERED) for r in item.recipients]
        record = Record(
            item.envelope.id, TOKEN, "node1", NOW + 10, NOW + 20, settled or tuple(everyone)
        )
        return replace(record, **changes)


class Table:
    """A spool seen from its inside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url)

    def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn`` in a transaction of its own."""
        with writing(self.engine) as conn:
            return fn(conn, *args)

    def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn`` in a reading transaction."""
        with reading(self.engine) as conn:
            return fn(conn, *args)

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with reading(self.engine) as conn:
            return [tuple(row) for row in conn.execute(text(sql), parameters)]

    def states(self, item: Intake) -> list[str]:
        """Return the states of a message's recipients."""
        sql = "SELECT state FROM recipients WHERE message_id = :id ORDER BY number"
        return [state for (state,) in self.rows(sql, id=item.envelope.id)]

    def accept(self, *items: Intake) -> None:
        """Take messages in."""
        self.write(intake.accept, items)

    def register(self, token: str = TOKEN, name: str = "node1") -> int:
        """Begin a lease."""
        return self.write(leases.register_node, name, token, NOW, 60_000, {"pid": "1"})


@pytest.fixture
def mail() -> Mail:
    """Return a maker of messages."""
    return Mail()


@pytest.fixture
def table_of() -> Iterator[Callable[[str], Table]]:
    """Give a function that looks into the spool at a URL."""
    tables: list[Table] = []

    def look(url: str) -> Table:
        tables.append(Table(url))
        return tables[-1]

    yield look
    for one in tables:
        one.engine.dispose()


@pytest.fixture
def table(spool_url: str, table_of: Callable[[str], Table]) -> Table:
    """Return a spool to look into, once on each database."""
    return table_of(spool_url)
