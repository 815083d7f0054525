"""All that is done to addresses: one value, built from the configuration."""

from collections.abc import Iterator
from dataclasses import dataclass

from mta.mail.srs import Srs
from mta.policy.aliases import LocalAddresses
from mta.policy.rewriting import Rewrites


@dataclass(frozen=True, slots=True)
class Canonical:
    """A table that is used when mail is accepted."""

    name: str
    table: Rewrites
    senders: bool = True
    recipients: bool = True
    submission: bool = True
    relay: bool = False


@dataclass(frozen=True, slots=True)
class Addresses:
    """The tables."""

    local: LocalAddresses
    canonical: tuple[Canonical, ...] = ()
    srs: Srs | None = None

    def rewritten(
        self, address: str, *, sender: bool, submission: bool
    ) -> tuple[str, tuple[str, ...]]:
        """Return what takes the place of an address at acceptance, and by which tables."""
        names = []
        for one in self._applying(sender=sender, submission=submission):
            new = one.table.rewrite(address)
            if new != address:
                address = new
                names.append(one.name)
        return address, tuple(names)

    def _applying(self, *, sender: bool, submission: bool) -> Iterator[Canonical]:
        for one in self.canonical:
            about = one.senders if sender else one.recipients
            if about and (one.submission if submission else one.relay):
                yield one
