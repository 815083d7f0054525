"""Commit 1: a message that has arrived becomes ours, and is handed over (RFC 5321 §6.1).

Room in the queue's memory is asked for first; when there is none, or the message is to wait, or
its site is dead, the queue finds it in the spool.  Nobody is told of it before it has been
committed and fsynced.
"""

from mta.inbound.addressees import Addressees
from mta.inbound.gate import Rulings
from mta.inbound.reception import Reception
from mta.mail.envelope import Envelope
from mta.mail.events import Accepted, Finished, Ruled
from mta.spool import intake
from mta.spool.body import body_of


class Acceptance:
    """One message's."""

    def __init__(
        self,
        reception: Reception,
        envelope: Envelope,
        addressees: Addressees,
        rulings: Rulings,
        arrived: tuple[bytes, int, bytes],
    ) -> None:
        """Ask for room.

        ``arrived``: what the spool does not have yet, how many chunks it has, and chunk 0, if that
        could not go there before all others.
        """
        self._reception = reception
        self._envelope = envelope
        self._rulings = rulings
        last, stored, top = arrived
        count = addressees.count
        octets = 0 if stored else len(last)
        self._room = count, octets
        at_once = envelope.asked.release_ms is None and not rulings.held and count > 0
        removed, handover = addressees.removed, reception.handover
        due_ms = envelope.asked.release_ms or envelope.created_ms
        recipients, reservation = addressees.recipients(1), None
        if at_once and not removed:
            put_off_ms = handover.put_off_ms(envelope, recipients)
            if put_off_ms is not None:  # no need to come in
                at_once, due_ms = False, put_off_ms
        if at_once:
            reservation = handover.reserve(count, octets, envelope.origin.owner)
        if reservation is not None:
            due_ms = reservation.next_attempt_ms
        else:  # nothing has begun
            recipients = addressees.recipients(0)
        self._at_once = at_once
        self._reservation = reservation
        self._item = intake.Intake(
            envelope=envelope,
            recipients=recipients,
            chunks=intake.divided(last),
            stored=stored,
            head=top,
            held=rulings.held,
            remarks=tuple(rulings.remarks),
            removed=removed,
            claim=None if reservation is None else reservation.claim,
            next_attempt_ms=due_ms,
        )

    async def commit(self) -> None:
        """Write it.  Whatever this raises, nothing stays reserved."""
        try:
            await self._reception.database.write_together(intake.accept, self._item)
        except BaseException:
            if self._reservation is not None:
                self._reception.handover.cancel(self._reservation, *self._room)
            raise

    def announce(self) -> None:
        """Tell of it, when it has been committed, and hand it over."""
        reception, item, id = self._reception, self._item, self._envelope.id
        reception.emit(Accepted(self._envelope, item.recipients))
        for remark in self._rulings.remarks:
            reception.emit(Ruled(id, remark.verb, remark.text, remark.who))
        if item.finished:
            reception.emit(Finished(id))
        elif self._rulings.held:
            reception.emit(Ruled(id, "hold", self._rulings.held))
        elif self._at_once:
            body = body_of(item, reception.database)
            reception.handover.accepted(self._envelope, item.remaining, body, self._reservation)
