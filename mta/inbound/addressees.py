"""The recipients of one arriving message: as named by the client, and what became of them.

A second RCPT for the same address is the first.  What comes of an alias counts towards the
bound as well; the first of a message always fits, or a long list could not be written to at all.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from mta.mail.address import domain_of
from mta.mail.envelope import Recipient

_NOBODY: frozenset[int] = frozenset()


class Addressees:
    """All of one message."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # address -> domain, NOTIFY, ORCPT; where an alias was, more fields of ``Recipient``
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._reported: dict[str, tuple[Any, ...]] = {}  # the same of those that only reports know
        self._expanded = False
        self._taken_away: dict[str, str] = {}  # some of them, with the filter that wants it

    @property
    def count(self) -> int:
        """To how many addresses the message goes."""
        if not self._taken_away:
            return len(self._rows)
        return sum(address not in self._taken_away for address in self._rows)

    @property
    def full(self) -> bool:
        """Whether there can be no more."""
        return len(self._rows) >= self._limit

    @property
    def domains(self) -> list[str]:
        """Their domains."""
        return [row[0] for row in self._rows.values()]

    @property
    def first(self) -> str:
        """One of them; "" if there is none."""
        return next(iter(self._rows), "")

    @property
    def only(self) -> str:
        """The one address that the client has named; "" if it has named several."""
        if not self._expanded:
            return self.first if len(self._rows) == 1 else ""
        names = {row[3] if row[3:] and row[3] else address for address, row in self._rows.items()}
        return names.pop() if len(names) == 1 else ""

    def add(self, address: str, notify: str, orcpt: str) -> bool:
        """Take an address as it is; False if there is no room."""
        if self.full:
            return False
        self._rows.setdefault(address, (domain_of(address), notify, orcpt))
        return True

    def add_all(self, recipients: Sequence[Recipient]) -> bool:
        """Take what an alias has come to, all or nothing."""
        count = len(self._rows) + len(self._reported)
        if count and count + len(recipients) > self._limit:
            return False
        self._expanded = True
        for one in recipients:
            row = (one.domain, one.notify, one.orcpt, one.given, one.sender, one.role)
            rows = self._reported if one.role.reported_only else self._rows
            rows.setdefault(one.address, row)
        return True

    def recipients(self, attempts: int) -> tuple[Recipient, ...]:
        """Return them, numbered, with so many attempts begun."""
        return tuple(
            Recipient(number, address, row[0], attempts, False, *row[1:])
            for number, (address, row) in enumerate(self._all())
        )

    def restore(self, address: str) -> bool:
        """Have one that was taken away get the message after all; False if there is none such."""
        self._taken_away.pop(address, None)
        return address in self._rows

    def take_away(self, address: str, who: str) -> bool:
        """Have nobody of that address get the message, or of what has come of it.

        It stays among the recipients, for the history.  False if there is none such.
        """
        wanted = address.lower()
        names = [(one, row[3] if row[3:] else "") for one, row in self._all()]
        found = [one for one, given in names if address in (one, given)]
        found = found or [one for one, given in names if wanted in (one.lower(), given.lower())]
        self._taken_away.update(dict.fromkeys(found, who))
        return bool(found)

    def take_all_away(self, who: str) -> None:
        """Have nobody get it."""
        self._taken_away.update({address: who for address, _ in self._all()})

    def taken_away(self) -> list[tuple[int, str]]:
        """Return the numbers of those that were taken away, each with the filter."""
        if not self._taken_away:
            return []
        if not self.count:  # nobody is left of whom reports could tell
            last = next(reversed(self._taken_away.values()))
            self._taken_away = {one: last for one, _ in self._all()} | self._taken_away
        return [
            (number, self._taken_away[address])
            for number, (address, _) in enumerate(self._all())
            if address in self._taken_away
        ]

    @property
    def removed(self) -> frozenset[int]:
        """The numbers of those that were taken away."""
        return frozenset(number for number, _ in self.taken_away()) if self._taken_away else _NOBODY

    def _all(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        if not self._reported:
            return iter(self._rows.items())
        return chain(self._rows.items(), self._reported.items())
