"""Commit 3: what came of an attempt, for good.

The state of the recipients, a row of history for each, what was said, the reports that are
due (RFC 3464) and, where nobody waits for the message any more, its end: all in one
transaction, so that there is exactly one report for each failure, whatever dies and whenever.

An outcome is fenced by the claim it was made under (``leases``).  What an operator has
decided meanwhile stays, with one exception: a delivery that has happened has happened.
A ``Record`` is applied as a whole or not at all, because its reports speak of its recipients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from mta.mail.envelope import Recipient
from mta.mail.outcome import Outcome, Peer
from mta.mail.queue_id import QueueId
from mta.mail.value import value
from mta.spool import bulk, history, intake, resurrection, transcripts
from mta.spool.driver import run
from mta.spool.engine import is_sqlite, repeated
from mta.spool.intake import Intake
from mta.spool.schema import WAITING, State, attempts, messages, recipients
from mta.spool.transcripts import Transcript

_NO_PEER = Peer("", port=0, use=0)


@value
class Settled:
    """What becomes of one recipient after an attempt.

    ``state`` is QUEUED for a deferral, else DELIVERED, BOUNCED or EXPIRED; HELD, where an operator
    is to decide, with a remark of ours in the history.  ``cause`` is our
    own reason where the outcome is not all of it, such as an expiry after a deferral.
    """

    recipient: Recipient
    outcome: Outcome
    state: State
    next_attempt_ms: int
    warned: bool = False  # a delay warning is among the reports
    cause: str = ""


@value
class Record:
    """What came of one attempt for recipients of one message, claimed with ``token``."""

    message_id: QueueId
    token: str
    node: str
    started_ms: int
    ended_ms: int
    settled: tuple[Settled, ...]
    reports: tuple[Intake, ...] = ()
    site: str = ""  # the name of the site, for the history


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answer to a ``Record``.

    If any recipient is ``lost``, it is somebody else's now, or an operator has removed it, and
    nothing of the record was applied: submit it again without them.
    """

    lost: tuple[int, ...]
    finished: bool  # nobody waits for the message any more


_HEAD = """
UPDATE recipients SET
  state = CASE WHEN v.column5 = 'queued' THEN recipients.state ELSE v.column5 END,
  claim = NULL, dotted_ms = NULL, dotted_to = NULL,
  next_attempt_ms = v.column6,
  warned = recipients.warned OR v.column7,
  last_code = v.column8, last_enhanced = v.column9, last_text = v.column10,
  last_host = v.column11, last_ms = v.column12, last_category = v.column13,
  finished_ms = CASE WHEN v.column5 IN ('queued', 'held') THEN recipients.finished_ms
    ELSE v.column12 END
FROM"""
_TAIL = """AS v
WHERE recipients.message_id = v.column1 AND recipients.number = v.column2
  AND recipients.claim = v.column3 AND recipients.attempts = v.column4
  AND (v.column5 IN ('queued', 'delivered') OR recipients.state IN ('queued', 'held'))"""

_FINISH = """
UPDATE messages SET finished_ms = {mark}
WHERE id IN {ids} AND NOT EXISTS (
  SELECT 1 FROM recipients
  WHERE recipients.message_id = messages.id AND recipients.state IN ('queued', 'held'))"""


def record(conn: Connection, items: Sequence[Record]) -> list[Recorded]:
    """Record all ``items``; for ``Database.write_together``."""
    lock_messages(conn, [item.message_id for item in items])
    lost: dict[int, tuple[int, ...]] = {}
    apply = [n for n, item in enumerate(items) if not (repeated(conn) and _recorded(conn, item))]
    if apply and not _settle(conn, [items[n] for n in apply]):
        lost = {n: _lost(conn, items[n]) for n in apply if not _settle(conn, [items[n]])}
    _write_history(conn, [items[n] for n in apply if n not in lost])
    finished = finish(
        conn, [item.message_id for item in items], max(item.ended_ms for item in items)
    )
    return [Recorded(lost.get(n, ()), item.message_id in finished) for n, item in enumerate(items)]


def lock_messages(conn: Connection, ids: Sequence[str]) -> None:
    """Let nobody else decide at the same moment whether these messages are finished.

    Two nodes that settle the last two recipients would each still see the other's waiting.
    On SQLite a writing transaction is alone anyway.
    """
    if not is_sqlite(conn):
        query = select(messages.c.id).where(messages.c.id.in_(ids)).order_by(messages.c.id)
        conn.execute(query.with_for_update(key_share=True)).all()


def finish(conn: Connection, ids: Sequence[str], at_ms: int) -> set[str]:
    """End those of the messages that nobody waits for.  Return which.

    Their octets go, unless somebody has not got the message (``resurrection``).
    """
    wanted = sorted(set(ids))
    finished: set[str] = set()
    for marks, part in bulk.id_lists(conn, wanted):
        sql = _FINISH.format(mark=bulk.mark(conn), ids=marks)
        ended = run(conn, sql, (at_ms, *part))
        if ended.rowcount == len(set(part)):
            finished.update(part)
        else:
            query = select(messages.c.id).where(messages.c.id.in_(set(part)))
            query = query.where(messages.c.finished_ms.is_not(None))
            finished.update(conn.execute(query).scalars())
    gone = finished - resurrection.keep(conn, sorted(finished))
    for marks, part in bulk.id_lists(conn, sorted(gone)):
        run(conn, f"DELETE FROM chunks WHERE message_id IN {marks}", part)  # noqa: S608
    return finished


def _settle(conn: Connection, items: Sequence[Record]) -> bool:
    """Write the states if every fence holds; else leave all as it was and return False."""
    values = [_state(item, settled) for item in items for settled in item.settled]
    run(conn, "SAVEPOINT settle")
    if bulk.update(conn, _HEAD, _TAIL, values) == len(values):
        return True
    run(conn, "ROLLBACK TO SAVEPOINT settle")
    return False


def _state(item: Record, settled: Settled) -> tuple[Any, ...]:
    outcome = settled.outcome
    return (
        item.message_id,
        settled.recipient.number,
        item.token,
        settled.recipient.attempts,
        settled.state.value,
        settled.next_attempt_ms,
        settled.warned,
        outcome.code,
        bulk.storable(outcome.enhanced),
        bulk.storable(outcome.text),
        outcome.peer.host if outcome.peer else "",
        item.ended_ms,
        outcome.cause,
    )


def _lost(conn: Connection, item: Record) -> tuple[int, ...]:
    """Return the recipients whose fence does not hold, or whose state forbids the outcome."""
    columns = recipients.c
    query = select(columns.number, columns.claim, columns.attempts, columns.state)
    numbers = [settled.recipient.number for settled in item.settled]
    found = conn.execute(
        query.where(columns.message_id == item.message_id, columns.number.in_(numbers))
    )
    held = {
        row.number: row.attempts
        for row in found
        if row.claim == item.token and (row.state in WAITING or _overrides(item, row.number))
    }
    return tuple(
        settled.recipient.number
        for settled in item.settled
        if held.get(settled.recipient.number) != settled.recipient.attempts
    )


def _overrides(item: Record, number: int) -> bool:
    """Tell whether what is recorded of recipient ``number`` stands beside any other state."""
    return any(
        settled.state in (State.QUEUED, State.DELIVERED)
        for settled in item.settled
        if settled.recipient.number == number
    )


def _recorded(conn: Connection, item: Record) -> bool:
    """Tell whether the lost commit has already recorded ``item``."""
    first = item.settled[0].recipient
    query = select(attempts.c.node).where(
        attempts.c.message_id == item.message_id,
        attempts.c.recipient == first.number,
        attempts.c.attempt == first.attempts,
        attempts.c.node == item.node,
        attempts.c.started_ms == item.started_ms,
    )
    return conn.execute(query).first() is not None


def _write_history(conn: Connection, items: Sequence[Record]) -> None:
    bulk.insert(conn, attempts, [_attempt(item, one) for item in items for one in item.settled])
    for item in items:
        for one in item.settled:
            if one.state is State.HELD:
                number, words = one.recipient.number, one.outcome.text
                history.note(
                    conn, item.message_id, number, item.ended_ms, "hold", "delivery", words
                )
    said = [found for item in items for found in _said(item)]
    if said:
        transcripts.insert(conn, said)
    reports = [(report, item.message_id) for item in items for report in item.reports]
    if reports:
        intake.insert(conn, reports)


def _said(item: Record) -> Iterator[tuple[str, Transcript]]:
    """Yield the transcripts that came with the outcomes: one, or one for each route taken."""
    by_text: dict[str, list[int]] = {}
    for settled in item.settled:
        if settled.outcome.transcript:
            by_text.setdefault(settled.outcome.transcript, []).append(settled.recipient.number)
    for text, numbers in by_text.items():
        times = (item.started_ms, item.ended_ms)
        yield item.message_id, Transcript(*times, item.node, tuple(numbers), text)


def _attempt(item: Record, settled: Settled) -> tuple[Any, ...]:
    outcome = settled.outcome
    peer = outcome.peer or _NO_PEER
    tls = peer.tls
    return (
        item.message_id,
        settled.recipient.number,
        settled.recipient.attempts,
        item.node,
        item.started_ms,
        item.ended_ms,
        outcome.verdict.value,
        settled.state.value,
        settled.next_attempt_ms,
        bulk.storable(settled.cause),
        bulk.storable(item.site),
        outcome.code,
        bulk.storable(outcome.enhanced),
        bulk.storable(outcome.text),
        outcome.command,
        outcome.blame.value,
        outcome.maybe_delivered,
        outcome.timing.connect,
        outcome.timing.transmit,
        peer.host,
        peer.address,
        peer.port,
        peer.use,
        tls.level.value,
        tls.version,
        tls.cipher,
        bulk.storable(tls.why),
        tls.required,
        bulk.storable(tls.required_why),
        bulk.storable(tls.observed),
        outcome.sender,
        outcome.cause,
        peer.source,
    )
