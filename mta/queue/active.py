"""The active set: what of the queue is in memory, and how much more may come in.

The set is bounded twice, in recipients and in octets of bodies, whatever the length of
the queue (Postfix's leaky bucket).  Mail that has just been accepted may fill three
quarters of it; the rest is kept for what is read back from the spool, so that a stream of fresh
mail cannot starve deferred mail.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mta.mail.envelope import Body, Envelope, Job, Recipient
from mta.mail.queue_id import QueueId


@dataclass(slots=True, eq=False)
class Charge:
    """What one message's body costs, until the last of its entries has gone."""

    octets: int
    entries: int


@dataclass(slots=True, eq=False)
class Entry:
    """A job in the active set: one message's recipients at one destination."""

    job: Job
    token: str  # the claim it was taken under; the fence of all that is written about it
    charge: Charge
    began_ms: int = 0
    began_s: float = 0.0

    @property
    def destination(self) -> str:
        """Key of the destination."""
        return self.job.destination

    @property
    def weight(self) -> int:
        """How many recipients it stands for."""
        return len(self.job.recipients)

    @property
    def keys(self) -> list[tuple[QueueId, int, int]]:
        """Name its recipients as the spool fences them: id, number, attempts."""
        message_id = self.job.envelope.id
        return [(message_id, one.number, one.attempts) for one in self.job.recipients]


class Room:
    """How full the active set is."""

    def __init__(self, recipients: int, octets: int) -> None:
        """Begin empty; the arguments are the bounds."""
        self.bound_recipients = recipients
        self.bound_octets = octets
        self.recipients = 0
        self.octets = 0

    def fits(self, recipients: int, octets: int) -> bool:
        """Tell whether a message just accepted may stay in memory."""
        return (
            4 * (self.recipients + recipients) <= 3 * self.bound_recipients
            and self.octets + octets <= self.bound_octets
        )

    @property
    def free(self) -> int:
        """How many recipients may still be claimed."""
        return max(0, self.bound_recipients - self.recipients)

    def take(self, recipients: int, octets: int = 0) -> None:
        """Use up room."""
        self.recipients += recipients
        self.octets += octets

    def give(self, recipients: int, octets: int = 0) -> None:
        """Give room back."""
        self.recipients -= recipients
        self.octets -= octets

    def leave(self, entry: Entry) -> None:
        """Give back what ``entry`` took; the body's octets with the last of its message."""
        self.recipients -= entry.weight
        entry.charge.entries -= 1
        if not entry.charge.entries:
            self.octets -= entry.charge.octets


def entries(
    envelope: Envelope,
    recipients: tuple[Recipient, ...],
    body: Body,
    token: str,
    destination: Callable[[str, str], str],
) -> list[Entry]:
    """Group a message's recipients by destination, in order; all share one charge."""
    octets = sum(map(len, body.memory)) if body.memory is not None else 0
    sender = envelope.sender
    if len(recipients) == 1:
        job = Job(envelope, recipients, body, destination(sender, recipients[0].domain))
        return [Entry(job, token, Charge(octets, 1))]
    groups = _by_destination(sender, recipients, destination)
    charge = Charge(octets, len(groups))
    return [
        Entry(Job(envelope, tuple(some), body, key), token, charge) for key, some in groups.items()
    ]


def _by_destination(
    sender: str, recipients: Iterable[Recipient], destination: Callable[[str, str], str]
) -> dict[str, list[Recipient]]:
    keys: dict[str, str] = {}
    groups: dict[str, list[Recipient]] = {}
    for one in recipients:
        key = keys.get(one.domain)
        if key is None:
            key = keys[one.domain] = destination(sender, one.domain)
        groups.setdefault(key, []).append(one)
    return groups
