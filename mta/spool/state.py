"""Where recipients stand."""

from enum import StrEnum


class State(StrEnum):
    """Where one recipient stands.

    queued -> delivered | bounced | expired: what came of an attempt
    queued <-> held: an operator's ``hold`` and ``release``; the policy's ``hold``
    queued, held -> removed | bounced: an operator's ``remove`` and ``bounce``
    bounced, expired -> queued: an operator's ``resurrect``, while the octets are kept
    any -> delivered: an attempt already under way succeeded in spite of an operator's verb
    """

    QUEUED = "queued"
    HELD = "held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    REMOVED = "removed"


WAITING = (State.QUEUED, State.HELD)  # the message is not finished while one of these is left
