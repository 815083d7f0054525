"""A message in the active set, as entries: its recipients at one destination each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from mta.mail.envelope import Body, Envelope, Job, Recipient
from mta.mail.queue_id import QueueId
from mta.mail.site import Site
from mta.mail.value import value
from mta.spool.intake import Reservation

_UNKNOWN = Site("", "")

Destination: TypeAlias = Callable[..., str]
"""``(sender, domain)``, or ``(sender, domain, route)`` where an operator has chosen one: a key."""


@value
class Held(Reservation):
    """A reservation that knows what it holds."""

    recipients: int
    octets: int


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
    site: Site = _UNKNOWN  # where the destination is
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
    def urgency(self) -> int:
        """Its class: 1 goes before 0, and 0 before -1 (RFC 6710)."""
        return self.job.envelope.asked.urgency

    @property
    def owner(self) -> str:
        """Whose mail it is; "" for our own reports."""
        return self.job.envelope.origin.owner

    def part(self, kept: tuple[Recipient, ...]) -> "Entry":
        """Keep these recipients; return another entry with the rest.  It must not be lined up."""
        rest = tuple(one for one in self.job.recipients if one not in kept)
        self.charge.entries += 1
        other = Entry(replace(self.job, recipients=rest), self.token, self.charge, self.site)
        self.job = replace(self.job, recipients=kept)
        return other

    @property
    def keys(self) -> list[tuple[QueueId, int, int]]:
        """Name its recipients as the spool fences them: id, number, attempts."""
        message_id = self.job.envelope.id
        return [(message_id, one.number, one.attempts) for one in self.job.recipients]


def entries(
    envelope: Envelope,
    recipients: tuple[Recipient, ...],
    body: Body,
    token: str,
    destination: Destination,
) -> list[Entry]:
    """Group a message's recipients by destination, in order; all share one charge."""
    octets = sum(map(len, body.memory)) if body.memory is not None else 0
    sender = envelope.sender
    if len(recipients) == 1:
        key = destination_key(sender, recipients[0], destination)
        job = Job(envelope, recipients, body, key, claim=token)
        return [Entry(job, token, Charge(octets, 1))]
    groups = _by_destination(sender, recipients, destination)
    charge = Charge(octets, len(groups))
    return [
        Entry(Job(envelope, tuple(some), body, key, claim=token), token, charge)
        for (key, _), some in groups.items()
    ]


def _by_destination(
    sender: str, recipients: Iterable[Recipient], destination: Destination
) -> dict[tuple[str, str], list[Recipient]]:
    keys: dict[tuple[str, str], str] = {}
    # By the chosen route as well: two of them can lead to one place from two addresses of ours
    groups: dict[tuple[str, str], list[Recipient]] = {}
    for one in recipients:
        found = keys.get((one.domain, one.route))
        if found is None:
            found = keys[one.domain, one.route] = destination_key(sender, one, destination)
        groups.setdefault((found, one.route), []).append(one)
    return groups


def destination_key(sender: str, one: Recipient, destination: Destination) -> str:
    """Name the destination; as a rule nobody has chosen a route by hand."""
    if one.route:
        return destination(sender, one.domain, one.route)
    return destination(sender, one.domain)
