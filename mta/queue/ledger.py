"""Everything that the queue writes about mail in hand: outcomes with their reports, and returns.

An entry stays in the active set until what is to be said about it has been committed.
Events are emitted after the commit, so that the log never claims what the spool does not
know.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta.dkim.signer import Signer
from mta.mail.cause import Cause
from mta.mail.envelope import Envelope, Recipient
from mta.mail.events import Accepted, Attempted, Emit, Finished, LeaseLost, Note, Reported
from mta.mail.outcome import Outcome
from mta.queue.blocks import Block
from mta.queue.bounce import Report, first_chunk, reports, returned_octets, whole_body
from mta.queue.entry import Entry
from mta.queue.recorder import Recorder
from mta.queue.settings import QueueSettings
from mta.queue.settling import (
    deferred,
    expired,
    late,
    must_return,
    queued,
    reportable,
    settle,
    status,
    with_causes,
)
from mta.queue.signing import signed
from mta.queue.wall import Wall
from mta.spool import leases, outcomes, restraints
from mta.spool.database import Database
from mta.spool.outcomes import Record, Recorded, Settled
from mta.spool.schema import State

_KEYS_AT_ONCE = 1000
_AGAIN_MS = 1000
_ROUND_MS = 60_000  # what waits for about the same moment is written together


class Ledger:
    """Writes settled entries and returned ones, and tells when they are written."""

    _log = Logger()

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        settings: QueueSettings,
        node: str,
        wall: Wall,
        emit: Emit,
        written: Callable[[Entry, bool], None],
    ) -> None:
        """``written(entry, reported)`` is called when nothing more will be written about it."""
        self.settings = settings
        self._database = database
        self._recorder = recorder
        self._node = node
        self._now_ms, self._wall = wall.now_ms, wall
        self._emit = emit
        self._written = written
        self._restrained: dict[tuple[str, int, int], list[Entry]] = {}
        self._returns: dict[tuple[str, int], list[Entry]] = {}
        self.composing = 0  # reports that wait for a header to be read, or for a signature
        self.signer: Signer | None = None  # set before work begins, if reports are to be signed

    def settle(self, entry: Entry, settled: tuple[Settled, ...]) -> None:
        """Record what became of ``entry``, reports to the sender included."""
        now_ms = self._now_ms()
        for one in settled:
            if reportable(entry, one):
                self._compose(entry, settled, now_ms)
                return
        self._record(entry, settled, now_ms, ())

    def in_doubt(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Record what became of ``entry`` in the hands of a process that has ended since.

        None of ``outcomes`` leaves it in the queue: they are held, or count as delivered.
        """
        outcomes = with_causes(outcomes, self.settings.causes)
        settled = settle(entry, outcomes, self.settings, self._wall.aged_ms(), lambda: 0.0)
        self.settle(entry, self._wall.told(settled))

    def _compose(self, entry: Entry, settled: tuple[Settled, ...], now_ms: int) -> None:
        body = entry.job.body
        if body.memory is not None:
            self._report(entry, settled, now_ms, b"".join(body.memory))
            return
        self.composing += 1
        most = returned_octets(entry.job.envelope, self.settings)
        whole = entry.job.envelope.size <= most
        waiting = Deferred.fromCoroutine(whole_body(body) if whole else first_chunk(body))
        waiting.addBoth(self._composed, entry, settled, now_ms)

    def _composed(
        self, chunk: object, entry: Entry, settled: tuple[Settled, ...], now_ms: int
    ) -> None:
        self.composing -= 1
        self._report(entry, settled, now_ms, chunk if isinstance(chunk, bytes) else b"")

    def _report(
        self, entry: Entry, settled: tuple[Settled, ...], now_ms: int, chunk: bytes
    ) -> None:
        try:
            made = reports(entry.job.envelope, settled, chunk, self.settings, now_ms)
        except Exception as error:
            # The outcome is the truth and has to be written, report or no report.
            self._log.failure("while making a report about {id}", id=entry.job.envelope.id)
            text = f"{entry.job.envelope.id}: no report could be made: {error!r}"
            self._emit(Note("error", "queue", text))
            made = ()
        if made and self.signer is not None and self.signer.rules:
            self.composing += 1
            signing = Deferred.fromCoroutine(signed(made, self.signer))
            signing.addBoth(self._signed, entry, settled, now_ms, made)
        else:
            self._record(entry, settled, now_ms, made)

    def _signed(
        self,
        result: object,
        entry: Entry,
        settled: tuple[Settled, ...],
        now_ms: int,
        unsigned: tuple[Report, ...],
    ) -> None:
        self.composing -= 1
        if isinstance(result, tuple):
            self._record(entry, settled, now_ms, result)
            return
        text = f"{entry.job.envelope.id}: its report goes unsigned: {result}"
        self._emit(Note("warning", "dkim", text))
        self._record(entry, settled, now_ms, unsigned)

    def _record(
        self,
        entry: Entry,
        settled: tuple[Settled, ...],
        ended_ms: int,
        made: tuple[Report, ...],
    ) -> None:
        record = Record(
            entry.job.envelope.id,
            entry.token,
            self._node,
            entry.began_ms or ended_ms,
            ended_ms,
            settled,
            tuple(one.intake for one in made),
            entry.site.name,
        )
        self._recorder.write(
            partial(self._database.write_together, outcomes.record, record),
            partial(self._recorded, entry, record, made),
        )

    def _recorded(
        self, entry: Entry, record: Record, made: tuple[Report, ...], recorded: Recorded
    ) -> None:
        if recorded.lost:
            self._lost(entry, record, recorded.lost)
            return
        envelope = entry.job.envelope
        since_ms = envelope.since_ms
        queued_s = (record.started_ms - since_ms) / 1000
        total_s = (record.ended_ms - since_ms) / 1000
        for one in record.settled:
            next_ms = one.next_attempt_ms if one.state is State.QUEUED else None
            self._emit(
                Attempted(
                    envelope,
                    one.recipient,
                    one.outcome,
                    status(one),
                    queued_s,
                    total_s,
                    next_ms,
                    record.site,
                )
            )
        for report in made:
            self._emit(Reported(envelope.id, report.intake.envelope.id, report.kind))
            self._emit(Accepted(report.intake.envelope, report.intake.recipients))
        if recorded.finished:
            self._emit(Finished(envelope.id))
        self._written(entry, bool(made))

    def _lost(self, entry: Entry, record: Record, lost: tuple[int, ...]) -> None:
        """Leave out what is no longer ours, and submit the rest again (nothing was applied)."""
        rest = []
        for one in record.settled:
            if one.recipient.number in lost:
                self._emit(LeaseLost(entry.job.envelope.id, one.recipient.number, one.outcome))
            else:
                rest.append(one)
        if rest and len(rest) < len(record.settled):
            self.settle(entry, tuple(rest))
        else:
            self._written(entry, False)

    def put_off(self, entry: Entry, wait_s: float, why: str) -> None:
        """Return ``entry`` undialled for ``wait_s`` seconds, because of its destination.

        Where its time is over and its site is dead, or its sender must be told that it is
        late, that is recorded instead.  ``why`` is the site's last fault, "" if there is none.
        """
        doubt_ms, envelope = self._wall.doubt_ms(), entry.job.envelope
        now_ms = self._now_ms() - doubt_ms
        at_ms = now_ms + int(wait_s * 1000)
        if now_ms < envelope.expires_ms:
            at_ms = min(at_ms, envelope.expires_ms)
        by = envelope.asked.deliver_by
        if by is not None and by.mode == "N" and by.deadline_ms > now_ms:
            at_ms = min(at_ms, by.deadline_ms)
        if (why and now_ms >= envelope.expires_ms) or must_return(envelope, now_ms):
            self.expire(entry, why)
        elif any(late(envelope, one, self.settings, now_ms) for one in entry.job.recipients):
            full = "too much mail waits for this destination"
            at = (now_ms, at_ms + doubt_ms)
            self._tell_late(entry, at, "4.4.1" if why else "4.4.5", why or full)
        else:
            self.give_back(entry, at_ms + doubt_ms)

    def quietly_ms(
        self, envelope: Envelope, recipients: tuple[Recipient, ...], wait_s: float
    ) -> int | None:
        """Tell when mail is due that is put off for so long; None: its sender is to hear."""
        now_ms = self._now_ms()
        for one in recipients:
            if late(envelope, one, self.settings, now_ms):
                return None
        at_ms = min(now_ms + int(wait_s * 1000), envelope.expires_ms)
        return at_ms if at_ms > now_ms else None

    def hold_back(self, entry: Entry, block: Block) -> None:
        """Return ``entry`` undialled until ``block`` ends.

        Its age stands still meanwhile, unless the block says otherwise.  Its sender is told when it
        is late, and gets it back where a deadline wants that.
        """
        now_ms, envelope = self._now_ms(), entry.job.envelope
        aged_ms = now_ms - self._wall.doubt_ms()
        over = block.expires and aged_ms >= envelope.expires_ms
        if over or must_return(envelope, aged_ms):
            self.expire(entry, block.reason)
            return
        if any(late(envelope, one, self.settings, aged_ms) for one in entry.job.recipients):
            self._tell_late(entry, (aged_ms, now_ms + _AGAIN_MS), "4.3.2", block.reason)
            return
        at_ms = max(block.until_ms, now_ms + _AGAIN_MS)
        for moment_ms in self._moments(entry, expires=block.expires):
            if moment_ms > now_ms:
                at_ms = min(at_ms, -(-moment_ms // _ROUND_MS) * _ROUND_MS)
        key = (entry.token, at_ms, block.restraint)
        self._restrained.setdefault(key, []).append(entry)

    def _moments(self, entry: Entry, *, expires: bool) -> Iterator[int]:
        """Yield when something is to be done about ``entry``, dialled or not."""
        envelope, by = entry.job.envelope, entry.job.envelope.asked.deliver_by
        if expires:
            yield envelope.expires_ms
        if by is not None:
            yield by.deadline_ms
        warn_s = self.settings.delay_warning_s
        if warn_s is not None and not all(one.warned for one in entry.job.recipients):
            yield envelope.since_ms + int(warn_s * 1000)

    def _tell_late(self, entry: Entry, times_ms: tuple[int, int], enhanced: str, why: str) -> None:
        text = f"delivery suspended: {why}"
        made = deferred(entry.job.recipients, enhanced, text, cause=Cause.WAITING)
        pairs = zip(entry.job.recipients, made, strict=True)
        settled = (queued(entry, one, it, self.settings, times_ms) for one, it in pairs)
        self.settle(entry, tuple(replace(one, cause="not attempted") for one in settled))

    def expire(self, entry: Entry, why: str = "") -> None:
        """Give up what waits for a site that is dead, or must return, and whose time is over."""
        again = any(one.attempts > 1 for one in entry.job.recipients)
        text = f"its time was over before {'another' if again else 'an'} attempt could be made"
        if why:
            text += f": {why}"
        made = deferred(entry.job.recipients, "4.4.7", text, cause=Cause.WAITING)
        pairs = zip(entry.job.recipients, made, strict=True)
        self.settle(entry, tuple(expired(one, outcome) for one, outcome in pairs))

    def give_back(self, entry: Entry, at_ms: int) -> None:
        """Return ``entry`` unclaimed and uncounted, due ``at_ms``; ``flush`` must follow."""
        self._returns.setdefault((entry.token, at_ms), []).append(entry)

    def flush(self) -> None:
        """Write all returns that have gathered."""
        if self._restrained:
            self._flush_restrained()
        if not self._returns:
            return
        returns, self._returns = self._returns, {}
        for (token, at_ms), entries in returns.items():
            for batch in _batches(entries):
                self._release(token, at_ms, batch)

    def _flush_restrained(self) -> None:
        held, self._restrained = self._restrained, {}
        for (token, at_ms, id_), batch in held.items():
            for some in _batches(batch):
                keys = [key for entry in some for key in entry.keys]
                now_ms = self._now_ms()
                self._recorder.write(
                    partial(
                        self._database.write, restraints.put_back, token, keys, at_ms, id_, now_ms
                    ),
                    partial(self._released, some),
                )

    def _release(self, token: str, at_ms: int, batch: list[Entry]) -> None:
        keys = [key for entry in batch for key in entry.keys]
        self._recorder.write(
            partial(self._database.write, leases.release, token, keys, at_ms),
            partial(self._released, batch),
        )

    def _released(self, batch: list[Entry], _count: int) -> None:
        for entry in batch:
            self._written(entry, False)


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    keys = 0
    for entry in entries:
        batch.append(entry)
        keys += entry.weight
        if keys >= _KEYS_AT_ONCE:
            yield batch
            batch, keys = [], 0
    if batch:
        yield batch


def last_words(outcomes_: list[Outcome]) -> str:
    """Say what was wrong with a site, from the outcomes of the attempt that showed it."""
    for outcome in outcomes_:
        if outcome.text:
            return outcome.reply
    return "no reason given"
