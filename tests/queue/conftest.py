"""A stage for the scheduler: a hand-moved clock, a real spool without threads, scripted peers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.mail.address import domain_of
from mta.mail.envelope import (
    NOTHING,
    Asked,
    Envelope,
    Job,
    MemoryBody,
    MessageKind,
    Origin,
    Recipient,
)
from mta.mail.outcome import Blame, Outcome, Peer, Verdict
from mta.mail.queue_id import QueueId, new_queue_id
from mta.queue.retry import RetrySchedule
from mta.queue.scheduler import Scheduler
from mta.queue.settings import QueueSettings
from mta.spool import intake
from mta.spool.engine import create_engine, reading, writing
from mta.spool.errors import SpoolUnavailable
from mta.spool.intake import Intake
from mta.spool.schema import attempts, chunks, messages, nodes, recipients

_NOBODY = Origin()
EPOCH_MS = 1_750_000_000_000
BODY = b"From: a@example.org\r\nSubject: lunch\r\nMessage-ID: <1@example.org>\r\n\r\nAt noon?\r\n"


class InlineDatabase:
    """``mta.spool.database.Database`` without its threads: every answer is there at once."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        self.trouble: Exception | None = None
        self.reads = 0

    def _run(self, how: Any, fn: Callable[..., Any], args: Any) -> Deferred[Any]:
        if self.trouble is not None:
            return fail(self.trouble)
        try:
            with how(self.engine) as conn:
                return succeed(fn(conn, *args))
        except Exception:
            return fail(Failure())

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return self._run(writing, fn, args)

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        self.reads += 1
        return self._run(reading, fn, args)

    def write_together(self, fn: Callable[..., Any], item: Any) -> Deferred[Any]:
        return self._run(writing, lambda conn: fn(conn, [item])[0], ())


class Attempt:
    """One delivery under way; the test says what comes of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cancelled = False
        self.deferred: Deferred[list[Outcome]] = Deferred(self._cancel)

    def _cancel(self, _deferred: Any) -> None:
        self.cancelled = True

    @property
    def to(self) -> list[str]:
        return [one.address for one in self.job.recipients]

    def ends(self, *given: Outcome) -> None:
        self.deferred.callback(list(given))

    def all(self, verdict: Verdict, code: int, enhanced: str, text: str, blame: Blame) -> None:
        peer = Peer("mx." + self.job.recipients[0].domain, "192.0.2.9") if code else None
        self.ends(
            *(
                Outcome(one.number, verdict, code, enhanced, text, "RCPT", blame, peer)
                for one in self.job.recipients
            )
        )

    def delivers(self) -> None:
        self.all(Verdict.DELIVERED, 250, "2.0.0", "Ok: queued", Blame.NONE)

    def defers(self, text: str = "mailbox busy") -> None:
        self.all(Verdict.DEFERRED, 450, "4.2.1", text, Blame.RECIPIENT)

    def bounces(self, text: str = "no such user") -> None:
        self.all(Verdict.FAILED, 550, "5.1.1", text, Blame.RECIPIENT)

    def site_fails(self) -> None:
        self.all(Verdict.DEFERRED, 0, "4.4.1", "connection refused", Blame.SITE)


class Stage:
    """What a test moves and looks at."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.database = InlineDatabase(url)
        self.events: list[Any] = []
        self.attempts: list[Attempt] = []
        self.wall_ms = 0  # added to what the clock says

    def now_ms(self) -> int:
        return EPOCH_MS + self.wall_ms + int(self.clock.seconds() * 1000)

    def scheduler(self, node: str = "one", start: bool = True, **settings: Any) -> Scheduler:
        settings.setdefault("retry", RetrySchedule((300, 600, 3600), 0.0))
        random = settings.pop("random", lambda: 0.5)
        signer = settings.pop("signer", None)
        names = settings.pop("names", None)
        in_doubt = settings.pop("in_doubt", None)
        scheduler = Scheduler(
            self.clock,
            self.database,
            self.attempt,
            lambda sender, domain: f"mx:{domain}",
            QueueSettings("relay.example.org", **settings),
            node,
            self.events.append,
            now_ms=self.now_ms,
            random=random,
            signer=signer,
            names=names,
            in_doubt=in_doubt,
        )
        if start:
            results: list[Any] = []
            scheduler.start().addBoth(results.append)
            assert results == [None]
            self.advance(0)
        return scheduler

    def attempt(self, job: Job) -> Deferred[list[Outcome]]:
        self.attempts.append(Attempt(job))
        return self.attempts[-1].deferred

    def take(self) -> list[Attempt]:
        """Return the attempts begun since the last time."""
        begun, self.attempts = self.attempts, []
        return begun

    def one(self) -> Attempt:
        """Return the one attempt begun since the last time."""
        (attempt,) = self.take()
        return attempt

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def accept(
        self,
        scheduler: Scheduler | None,
        *to: str,
        sender: str = "a@example.org",
        expires_s: float = 432_000,
        kind: MessageKind = MessageKind.MAIL,
        body: bytes = BODY,
        asked: Asked = NOTHING,
        notify: Sequence[str] = (),
        origin: Origin = _NOBODY,
    ) -> QueueId:
        """Do what inbound does with a message; without a scheduler, only commit 1."""
        now_ms = self.now_ms()
        message_id = new_queue_id(now_ms)
        held = asked.release_ms is not None
        reservation = None
        if scheduler and not held:
            reservation = scheduler.reserve(len(to), len(body), origin.owner)
        begun = 1 if reservation else 0
        envelope = Envelope(
            message_id,
            sender,
            len(body),
            now_ms,
            (asked.release_ms or now_ms) + int(expires_s * 1000),
            kind=kind,
            origin=origin,
            asked=asked,
        )
        said = (*notify, *[""] * len(to))
        people = tuple(
            Recipient(n, a, domain_of(a), begun, notify=said[n]) for n, a in enumerate(to)
        )
        item = Intake(
            envelope,
            people,
            (body,),
            reservation.next_attempt_ms if reservation else asked.release_ms or now_ms,
            reservation.claim if reservation else None,
        )
        self.database.write_together(intake.accept, item)
        if scheduler:
            scheduler.accepted(envelope, people, MemoryBody((body,)), reservation)
            self.advance(0)
        return message_id

    def rows(self, message_id: str) -> list[Any]:
        query = select(recipients).where(recipients.c.message_id == message_id)
        return self._all(query.order_by(recipients.c.number))

    def states(self, message_id: str) -> list[tuple[str, int, float]]:
        """Return state, attempts and seconds to the next attempt of each recipient."""
        return [
            (row.state, row.attempts, max(0, row.next_attempt_ms - self.now_ms()) / 1000)
            for row in self.rows(message_id)
        ]

    def history(self, message_id: str) -> list[Any]:
        query = select(attempts).where(attempts.c.message_id == message_id)
        return self._all(query.order_by(attempts.c.recipient, attempts.c.attempt))

    def reports(self, message_id: str) -> list[tuple[Any, bytes]]:
        """Return the reports about a message: row and content."""
        query = select(messages).where(messages.c.parent == message_id).order_by(messages.c.id)
        return [(row, self.content(row.id)) for row in self._all(query)]

    def content(self, message_id: str) -> bytes:
        query = select(chunks.c.data).where(chunks.c.message_id == message_id)
        return b"".join(row.data for row in self._all(query.order_by(chunks.c.number)))

    def nodes(self) -> list[str]:
        return [row.name for row in self._all(select(nodes).order_by(nodes.c.name))]

    def seen(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def run(self, statement: Any) -> None:
        with writing(self.database.engine) as conn:
            conn.execute(statement)

    def _all(self, query: Any) -> Sequence[Any]:
        with reading(self.database.engine) as conn:
            return conn.execute(query).all()

    def goes_away(self) -> None:
        self.database.trouble = SpoolUnavailable("unable to open database file")

    def comes_back(self) -> None:
        self.database.trouble = None


@pytest.fixture
def stage(sqlite_url: str) -> Iterator[Stage]:
    """Give a stage on SQLite."""
    made = Stage(sqlite_url)
    yield made
    made.database.engine.dispose()


@pytest.fixture
def any_stage(spool_url: str) -> Iterator[Stage]:
    """Give a stage, once on each database."""
    made = Stage(spool_url)
    yield made
    made.database.engine.dispose()
