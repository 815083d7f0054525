"""The header of a message as filters see and change it.

Numbers are those of Sendmail, which filters are written for.  The line of ours on top,
``Received:``, is not shown, but counts where a field is inserted: 0 is above it, 1 below it.
Occurrences of a field are counted from 1 as the filter was shown them, and one that was taken
away keeps its number until that filter has said all.

Values begin behind the colon: their leading space is part of them.

Where the fields of a name are is looked up and not searched for: a sender may bring tens of
thousands of fields, and a filter change thousands of them.
"""

import re
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*(?:\n|\Z))*|[^\n]+\Z")


@dataclass(slots=True)
class _Entry:
    octets: bytes
    shown: bool = True
    gone: bool = False
    place: int | Fraction = 0  # grows from above to below

    @property
    def name(self) -> bytes:
        return self.octets.partition(b":")[0].rstrip(b" \t")


class Fields:
    """One message's header."""

    def __init__(self, octets: bytes, hidden: int = 0) -> None:
        """The first ``hidden`` of the octets, whole lines, are ours."""
        self._entries = [_Entry(octets[:hidden], shown=False)] if hidden else []
        self._entries += [_Entry(field) for field in _FIELD.findall(octets, hidden)]
        # Those that are shown, by name in small letters, from above; made when it is first needed
        self._named: dict[bytes, list[_Entry]] | None = None

    def shown(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield name and value of each field; what is none, for want of a colon, is passed over."""
        for entry in self._entries:
            name, colon, value = entry.octets.partition(b":")
            if entry.shown and colon and name.strip():
                yield name.rstrip(b" \t"), value.removesuffix(b"\r\n")

    def add(self, name: bytes, value: bytes) -> None:
        """Put a field below all others."""
        self.insert(len(self._entries), name, value)

    def insert(self, at: int, name: bytes, value: bytes) -> None:
        """Put a field before number ``at``; below all others if there are not so many."""
        if at >= len(self._entries) and self._entries:
            last = self._entries[-1]
            last.octets += b"" if last.octets.endswith(b"\n") else b"\r\n"
        entry = _entry(name, value)
        self._entries.insert(at, entry)
        if self._named is not None:
            entry.place = self._between(at)
            same = self._named.setdefault(entry.name.lower(), [])
            insort(same, entry, key=lambda one: one.place)

    def _between(self, at: int) -> int | Fraction:
        """Return a place for what stands at ``at``, in which it fits among its neighbours."""
        at = min(at, len(self._entries) - 1)
        above = self._entries[at - 1].place if at else None
        below = self._entries[at + 1].place if at + 1 < len(self._entries) else None
        if above is None:
            return 0 if below is None else below - 1
        return above + 1 if below is None else Fraction(above + below) / 2

    def _by_name(self) -> dict[bytes, list[_Entry]]:
        if self._named is None:
            self._named = {}
            for place, entry in enumerate(self._entries):
                entry.place = place
                if entry.shown:
                    self._named.setdefault(entry.name.lower(), []).append(entry)
        return self._named

    def change(self, number: int, name: bytes, value: bytes) -> bool:
        """Give occurrence ``number`` of a field another value, b"" to take it away.

        One that is not there is added; tells whether anything has changed.
        """
        there = self._by_name().get(name.lower(), [])
        index = max(number, 1) - 1
        if index >= len(there):
            if value:
                self.add(name, value)
            return bool(value)
        entry = there[index]
        if not value:
            was, entry.gone = entry.gone, True
            return not was
        entry.octets, entry.gone = _entry(name, value).octets, False
        return True

    def settle(self) -> None:
        """A filter has said all: what it has taken away does not count any more."""
        self._entries = [entry for entry in self._entries if not entry.gone]
        self._named = None

    def octets(self) -> bytes:
        """Return the header."""
        return b"".join(entry.octets for entry in self._entries if not entry.gone)


def _entry(name: bytes, value: bytes) -> _Entry:
    return _Entry(b"%b:%b\r\n" % (name, value))
