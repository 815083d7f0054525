"""Mail for Maildirs: what each recipient is told, and that nobody waits for the disk."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred

from mta.delivery import maildir
from mta.delivery.mailboxes import Mailboxes
from mta.delivery.routes import Maildir, Route
from mta.mail import dsn
from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Outcome, Verdict
from mta.mail.report import Notice, Report
from mta.queue.settling import arrival, status
from mta.spool.outcomes import Settled
from mta.spool.schema import State


@pytest.fixture
def deliver(tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Deliver a job into Maildirs below the test's directory, at once."""

    def run(job: Job, *, create: bool = True) -> list[Outcome]:
        boxes = Mailboxes(None, maybeDeferred)
        target = Maildir(str(tmp_path / "{domain}" / "{local}"), create)
        results: list[Any] = []
        Deferred.fromCoroutine(boxes.deliver(job, job.recipients, target, "mx.test")).addBoth(
            results.append
        )
        outcomes: list[Outcome] = results[0]
        return outcomes

    return run


def messages(tmp_path: Path, box: str) -> list[bytes]:
    return [file.read_bytes() for file in (tmp_path / box / "new").iterdir()]


class Chunks:
    """A body that has to be read piece by piece."""

    memory = None

    def __init__(self, *chunks: Any) -> None:
        self._chunks = chunks
        self.count = len(chunks)

    async def chunk(self, number: int) -> bytes:
        chunk = self._chunks[number]
        if isinstance(chunk, Exception):
            raise chunk
        return await chunk if isinstance(chunk, Deferred) else chunk


def test_delivered(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """Each recipient has a copy with its own address, and an outcome that names the place."""
    outcomes = deliver(job("anna@l.test", "bert@m.test"))
    assert [one.verdict for one in outcomes] == [Verdict.DELIVERED] * 2
    assert outcomes[0].peer.host == str(tmp_path / "l.test/anna")
    (first,) = messages(tmp_path, "l.test/anna")
    (second,) = messages(tmp_path, "m.test/bert")
    assert first == (
        b"Return-Path: <a@here.test>\nDelivered-To: anna@l.test\n"
        b"Subject: hi\n\n.dots\n..and dots\nend\n"
    )
    assert b"Delivered-To: bert@m.test\n" in second
    (file,) = (tmp_path / "l.test/anna/new").iterdir()
    assert outcomes[0].text == f"saved as {file.name}"


def test_long_message(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """A message of many chunks arrives whole."""
    deliver(job("anna@l.test", body=Chunks(b"A: b\r\n\r", b"\n", b"x\r\n" * 1000, b"end\r\n")))
    (message,) = messages(tmp_path, "l.test/anna")
    assert message.endswith(b"A: b\n\n" + b"x\n" * 1000 + b"end\n")


def test_chunk_lost(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """A chunk that the spool has lost is our fault: deferred, and no half message stays."""
    body = Chunks(b"A: b\r\n\r\n", LookupError("chunk 1"))
    (outcome,) = deliver(job("anna@l.test", body=body))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.3.0")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_one_unknown_of_two(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """An unknown user fails for good, and hinders nobody."""
    (tmp_path / "l.test/anna").mkdir(parents=True)
    known, unknown = deliver(job("anna@l.test", "nobody@l.test"), create=False)
    assert known.verdict is Verdict.DELIVERED
    assert (unknown.verdict, unknown.enhanced, unknown.blame) == (
        Verdict.FAILED,
        "5.1.1",
        Blame.RECIPIENT,
    )


def test_traversal(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """Attack: an address that leads out of the tree is an unknown user, and nothing is made."""
    (outcome,) = deliver(job('"../../x"@l.test'))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.1.1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "enhanced", "blame"),
    [
        (errno.ENOSPC, "4.3.1", Blame.SITE),
        (errno.EDQUOT, "4.2.2", Blame.RECIPIENT),
        (errno.EACCES, "4.3.0", Blame.RECIPIENT),
        (errno.EIO, "4.3.0", Blame.SITE),
        (errno.EROFS, "4.3.0", Blame.SITE),
    ],
)
def test_disk(
    tmp_path: Path,
    deliver: Any,
    job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    enhanced: str,
    blame: Blame,
) -> None:
    """Whatever the disk refuses is temporary; no draft stays; the sender hears of no path."""

    def refuse(*_: object) -> int:
        raise OSError(number, "no", str(tmp_path))

    monkeypatch.setattr(maildir.os, "write", refuse)
    (outcome,) = deliver(job("anna@l.test"))
    assert (outcome.verdict, outcome.enhanced, outcome.blame) == (
        Verdict.DEFERRED,
        enhanced,
        blame,
    )
    assert str(tmp_path) not in outcome.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_loop(tmp_path: Path, deliver: Any, job: Callable[..., Job]) -> None:
    """What this mailbox has had before, and somebody has sent round, fails for good."""
    content = b"Delivered-To: Anna@L.test\r\nSubject: x\r\n\r\nx\r\n"
    looped, other = deliver(job("anna@l.test", "bert@l.test", content=content))
    assert (looped.verdict, looped.enhanced) == (Verdict.FAILED, "5.4.6")
    assert other.verdict is Verdict.DELIVERED


def test_binary(deliver: Any, job: Callable[..., Job]) -> None:
    """BINARYMIME would be changed by a file of lines: it fails, it is not spoilt."""
    (outcome,) = deliver(job("anna@l.test", binary=True))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.6.3")


@pytest.mark.parametrize("sender", ["a\nBcc: x@here.test", "a\rb@here.test", "a\u2028@here.test"])
def test_header_injection(
    tmp_path: Path, deliver: Any, job: Callable[..., Job], sender: str
) -> None:
    """Attack: a line end in the sender's address makes no header field of the attacker's."""
    (outcome,) = deliver(job("anna@l.test", sender=sender))
    assert outcome.verdict is Verdict.FAILED
    assert list(tmp_path.iterdir()) == []


def test_cancelled(tmp_path: Path, job: Callable[..., Job]) -> None:
    """A delivery that is given up while its message is read leaves no draft."""
    boxes = Mailboxes(None, maybeDeferred)
    waiting: Deferred[bytes] = Deferred()
    one = job("anna@l.test", body=Chunks(b"A: b\r\n\r\n", waiting))
    target = Maildir(str(tmp_path / "{local}"), create=True)
    delivery = Deferred.fromCoroutine(boxes.deliver(one, one.recipients, target, "mx.test"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    delivery.addErrback(lambda failure: failure.trap(CancelledError))
    delivery.cancel()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_reactor_does_not_wait(world: Any, tmp_path: Path, job: Callable[..., Job]) -> None:
    """The disk is touched by threads of its own, which are made for the first delivery."""
    world.reactor.callFromThread = lambda call, *args: world.reactor.callLater(0, call, *args)
    world.use(Route("local", Maildir(str(tmp_path / "{local}"), create=True)))
    before = threading.active_count()
    results = world.start(job("anna@l.test"))
    assert threading.active_count() > before
    assert results == []
    world.delivery.stop()  # waits for the thread
    world.reactor.settle()
    assert results[0][0].verdict is Verdict.DELIVERED
    assert threading.active_count() == before
    (late,) = world.deliver(job("anna@l.test"))
    assert (late.verdict, late.enhanced) == (Verdict.DEFERRED, "4.3.0")
    assert threading.active_count() == before, "nothing starts threads after the stop"


def test_what_is_said_of_it(deliver: Any, job: Callable[..., Job]) -> None:
    """A success is "sent" in the log and "delivered" in a report, which names no path of ours."""
    one = job("anna@l.test")
    (outcome,) = deliver(one)
    settled = Settled(one.recipients[0], outcome, State.DELIVERED, 0)
    assert status(settled) == "sent"
    asked = Settled(
        type(one.recipients[0])(0, "anna@l.test", "l.test", 1, notify="SUCCESS"),
        outcome,
        State.DELIVERED,
        0,
    )
    assert arrival(one.envelope, asked) == "delivered"
    notice = Notice(asked.recipient, outcome, arrived=True)
    report = Report(
        one.envelope.id, "a@here.test", "mx.test", 1, one.envelope, (notice,), success=True
    )
    text = dsn.compose(report)
    assert b"Action: delivered" in text
    assert outcome.peer is not None
    assert outcome.peer.host.encode() not in text
    assert b"Remote-MTA" not in text
