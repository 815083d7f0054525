"""Deliveries into Maildirs: threads for the disk, and an outcome for each recipient.

The reactor never waits for the disk; a few threads do.  A message that is in memory is one call
of a thread, a long one a call for each chunk.  A fault of the disk or of a directory is
temporary, whatever it is; permanent is only that there is no such mailbox (5.1.1), that the
message has been there before (5.4.6), and content that lines of a file cannot hold (5.6.3).
Outcomes name the Maildir as their peer, for us, and not in their text, which senders see.

A thread that hangs in the kernel (a network file system that is away) is not waited for: the
queue gives the delivery up after its time, and the next attempt finds what the thread may
have written after all.
"""

from collections.abc import Callable, Sequence
from errno import EACCES, EDQUOT, ENOSPC, EPERM
from time import monotonic
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mta.delivery.maildir import Draft, NoMailbox, Place, place, stem, top, was_delivered
from mta.delivery.routes import Maildir
from mta.mail.envelope import Body, Job, Recipient
from mta.mail.outcome import Blame, Outcome, Peer, Timing, Verdict

_THREADS = 4
_COMMAND = "maildir"

Run: TypeAlias = Callable[..., "Deferred[Any]"]  # calls a function where it may wait


class Mailboxes:
    """Writes into Maildirs.  Threads are made for the first delivery."""

    _log = Logger()

    def __init__(self, reactor: Any, run: Run | None = None) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._stopped = False
        self._run = run or self._in_thread

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        if self._stopped:
            return fail(RuntimeError("the service is stopping"))
        if self._pool is None:
            self._pool = ThreadPool(0, _THREADS, name="mta-maildir")
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    def stop(self) -> None:
        """End the threads.  Blocks for what they are writing."""
        self._stopped = True
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    async def deliver(
        self, job: Job, recipients: Sequence[Recipient], target: Maildir, host_name: str
    ) -> list[Outcome]:
        """Deliver to each of ``recipients`` in turn; fails only by being cancelled."""
        return [await self._one(job, recipient, target, host_name) for recipient in recipients]

    async def _one(
        self, job: Job, recipient: Recipient, target: Maildir, host_name: str
    ) -> Outcome:
        began = monotonic()
        peer: Peer | None = None
        verdict, blame = Verdict.DEFERRED, Blame.RECIPIENT
        try:
            where = place(target, recipient)
            peer = Peer(str(where.path), port=0, final=True)
            text = await self._store(job, recipient, where, host_name)
            verdict, blame, enhanced = Verdict.DELIVERED, Blame.NONE, "2.0.0"
        except CancelledError:
            raise
        except NoMailbox as error:
            verdict, enhanced, text = Verdict.FAILED, "5.1.1", str(error)
        except _Unfit as error:
            verdict, blame, enhanced = Verdict.FAILED, Blame.MESSAGE, error.enhanced
            text = str(error)
        except OSError as error:
            enhanced, text, blame = _fault(error)
        except Exception as error:
            self._log.failure("while delivering {id} to a Maildir", id=job.envelope.id)
            enhanced, text, blame = "4.3.0", f"local error: {type(error).__name__}", Blame.NONE
        timing = Timing(transmit=monotonic() - began)
        return Outcome(recipient.number, verdict, 0, enhanced, text, _COMMAND, blame, peer, timing)

    async def _store(self, job: Job, recipient: Recipient, where: Place, host_name: str) -> str:
        """Write the message; return in words what has become of it."""
        envelope, body = job.envelope, job.body
        sender, address = envelope.sender, recipient.address
        if not sender.isprintable() or not address.isprintable():
            raise _Unfit("5.1.7", "an address cannot stand in a header field")
        if envelope.binary:
            raise _Unfit("5.6.3", "the message is BINARYMIME, and a Maildir has lines")
        head = await body.chunk(0) if body.count else b""
        if was_delivered(head, address):
            raise _Unfit("5.4.6", "the message has been delivered to this address before: a loop")
        draft = Draft(where, stem(envelope, recipient), host_name, recipient.attempts)
        fields = top(sender, address)
        if body.memory is not None:
            await self._cancellable(draft, _store_at_once, draft, fields, body.memory)
        else:
            await self._in_chunks(draft, fields, body)
        return f"saved as {draft.name}"

    async def _in_chunks(self, draft: Draft, fields: bytes, body: Body) -> None:
        if not await self._cancellable(draft, draft.begin):
            return
        await self._cancellable(draft, draft.write_top, fields)
        for number in range(body.count):
            try:
                chunk = await body.chunk(number)
            except BaseException:
                self._abandon(draft)
                raise
            await self._cancellable(draft, draft.write, chunk)
        await self._cancellable(draft, draft.keep)

    async def _cancellable(
        self, draft: Draft, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        try:
            return await self._run(function, *arguments)
        except BaseException:
            self._abandon(draft)
            raise

    def _abandon(self, draft: Draft) -> None:
        self._run(draft.abandon).addErrback(
            lambda failure: self._log.failure("a draft is left in a Maildir", failure)
        )


class _Unfit(Exception):
    """The message can never be stored there."""

    def __init__(self, enhanced: str, text: str) -> None:
        self.enhanced = enhanced
        super().__init__(text)


def _store_at_once(draft: Draft, fields: bytes, chunks: Sequence[bytes]) -> None:
    if draft.begin():
        draft.write_top(fields)
        for chunk in chunks:
            draft.write(chunk)
        draft.keep()


def _fault(error: OSError) -> tuple[str, str, Blame]:
    """Return enhanced code, words without a path, and whom it speaks about."""
    why = error.strerror or type(error).__name__
    if error.errno == EDQUOT:
        return "4.2.2", "the mailbox is over its quota", Blame.RECIPIENT
    if error.errno in (EACCES, EPERM):
        return "4.3.0", f"the mailbox cannot be written: {why}", Blame.RECIPIENT
    enhanced = "4.3.1" if error.errno == ENOSPC else "4.3.0"
    return enhanced, f"mailboxes cannot be written: {why}", Blame.SITE
