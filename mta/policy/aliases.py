"""Our own domains: which addresses there are valid, and what they stand for.

An address is looked up, the first that is found counts: itself; its name as an alias of every
domain; the same without its extension (``ann+lists``: ``ann``); the list of recipients;
the domain's catch-all.  What an alias gives is looked up in turn, if it lies in a domain of
ours.  An alias that names itself ends there: that is its mailbox.

Everything is bounded.  Circles and lists that are too long are found when the tables are made
(``problems``), so that no client ever meets one; ``Endless`` is for the day when that is wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mta.mail.address import folded, quoted, split, unquoted

MOST = 1000
_DEPTH = 20
_STEPS_TOLD = 20
_WORDS = 1000

Chain: TypeAlias = tuple[tuple[str, str], ...]
"""Addresses that led one to the other, each with the key of the entry that was used for it.  A
circle is both again: by an entry of a whole domain other names may pass.
"""


class UnknownAddress(LookupError):
    """There is no such address in a domain of ours."""


class Endless(ValueError):
    """An alias leads back to itself, or to too many addresses."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an address stands for."""

    targets: tuple[str, ...]  # "ann", "ann@example.net", "@example.net"
    where: str  # file and line, for people


@dataclass(frozen=True, slots=True)
class LocalDomain:
    """A domain of ours."""

    name: str
    recipients: frozenset[str] = frozenset()  # local parts that are mailboxes, folded
    closed: bool = False  # nothing else exists there; else what we don't know is passed on


@dataclass(frozen=True, slots=True)
class Final:
    """One address at the end of an expansion."""

    address: str
    owner: str = ""  # whom failures are reported to, if it came from a list that has an owner


@dataclass(frozen=True, slots=True)
class Step:
    """One entry that was used."""

    address: str
    targets: tuple[str, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """What an address comes to."""

    address: str  # that was asked about
    finals: tuple[Final, ...]
    steps: tuple[Step, ...] = ()
    known: bool = True  # False: it may exist, further on

    @property
    def changed(self) -> bool:
        """Whether anything but the address itself came of it."""
        return self.steps != () and self.finals != (Final(self.address),)

    def told(self) -> Iterator[str]:
        """Say for the history which entries were used."""
        for step in self.steps[:_STEPS_TOLD]:
            names = ", ".join(step.targets)
            if len(names) > _WORDS:
                names = f"{names[:_WORDS]}... ({len(step.targets)} addresses)"
            yield f"{step.address} -> {names} ({step.where})"
        if len(self.steps) > _STEPS_TOLD:
            yield f"and {len(self.steps) - _STEPS_TOLD} more aliases"


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """All domains of ours and their aliases.  Keys of ``entries``: "ann@d", "ann@", "@d"."""

    domains: Mapping[str, LocalDomain] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    delimiter: str = "+"  # "": no extensions
    postmaster: str = ""  # whom mail for a domain's postmaster goes to, if nothing else says
    most: int = MOST  # addresses of one expansion

    def ours(self, domain: str) -> bool:
        """Tell whether a domain, in lower case with A-labels, is ours."""
        return domain in self.domains

    def expand(self, address: str) -> Expansion:
        """Return what an address in a domain of ours comes to; ``UnknownAddress``, ``Endless``."""
        search = _Search(self)
        search.visit(address, (), "", asked=True)
        return Expansion(address, tuple(search.finals.values()), tuple(search.steps), search.known)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield where an entry is wrong, and why: circles, and names that do not exist."""
        for key, entry in self.entries.items():
            local, _, domain = key.rpartition("@")
            for name in (domain,) if domain else self.domains:
                address = f"{quoted(local or 'anybody')}@{name}"
                try:
                    search = _Search(self, strict=True)
                    search.visit(address, (), "", asked=True)
                except (Endless, UnknownAddress) as error:
                    yield entry.where, str(error)
                    break

    def entry(self, address: str) -> tuple[str, Entry] | None:
        """Return key and entry of an address in a domain of ours; None: it has none."""
        name, _, domain = folded(address).rpartition("@")
        for local in self.names(name):
            for key in (f"{local}@{domain}", f"{local}@"):
                found = self.entries.get(key)
                if found is not None:
                    return key, found
        if self.is_mailbox(name, domain):
            return None
        if name == "postmaster" and self.postmaster:
            if folded(self.postmaster) == f"{name}@{domain}":
                return None
            return f"{name}@{domain}", Entry((self.postmaster,), "reports.postmaster")
        found = self.entries.get(f"@{domain}")
        return None if found is None else (f"@{domain}", found)

    def names(self, name: str) -> tuple[str, ...]:
        """Return a name, and what it is without its extension."""
        base = name.partition(self.delimiter)[0] if self.delimiter else ""
        return (name, base) if base and base != name else (name,)

    def is_mailbox(self, name: str, domain: str) -> bool:
        """Tell whether a folded name is in the domain's list of recipients."""
        recipients = self.domains[domain].recipients
        return any(local in recipients for local in self.names(name))

    def owner(self, address: str) -> str:
        """Return the owner of a list (``owner-staff`` of ``staff``), or ""."""
        local, domain = split(address)
        name = unquoted(local).lower()
        key = f"owner-{name}"
        named = f"{key}@{domain}" in self.entries or f"{key}@" in self.entries
        if named or key in self.domains[domain].recipients:
            return f"{quoted(key)}@{domain}"
        return ""


class _Search:
    """One expansion."""

    def __init__(self, table: LocalAddresses, *, strict: bool = False) -> None:
        """Look for a client; or, if ``strict``, for faults of the table itself."""
        self._table = table
        self._strict = strict
        self.finals: dict[str, Final] = {}
        self.steps: list[Step] = []
        self._done: set[tuple[str, str]] = set()
        self.known = True

    def visit(self, address: str, chain: Chain, owner: str, *, asked: bool) -> None:
        """Follow ``address``; ``chain``: what has led to it.

        ``asked``: its name is the client's, not the table's.
        """
        table = self._table
        name, _, domain = folded(address).rpartition("@")
        if not table.ours(domain):
            self._end(address, owner)
            return
        found = table.entry(address)
        if found is None:
            self._mailbox(address, name, domain, owner, asked=asked)
            return
        key, entry = found
        if chain and chain[-1][1] == key:
            self._end(address, owner)
            return
        link = (f"{name}@{domain}", key)
        if link in chain or len(chain) >= _DEPTH:
            keys = " -> ".join(one for _, one in (*chain, link))
            raise Endless(f"{address} leads back to itself: {keys}")
        if link in self._done:
            return
        self._done.add(link)
        self._follow(address, entry, ((*chain, link), owner), asked=asked)

    def _follow(
        self,
        address: str,
        entry: Entry,
        so_far: tuple[Chain, str],
        *,
        asked: bool,
    ) -> None:
        chain, owner = so_far
        key = chain[-1][1]
        domain = folded(address).rpartition("@")[2]
        if not key.startswith("@"):
            owner = self._table.owner(f"{key.rpartition('@')[0]}@{domain}") or owner
        targets = tuple(self._whole(one, split(address)[0], domain) for one in entry.targets)
        self.steps.append(Step(address, targets, entry.where))
        for written, one in zip(entry.targets, targets, strict=True):
            self.visit(one, chain, owner, asked=asked and written.startswith("@"))

    @staticmethod
    def _whole(target: str, local: str, domain: str) -> str:
        if target.startswith("@"):
            return local + target
        return target if split(target)[1] and not _is_name(target) else f"{target}@{domain}"

    def _mailbox(self, address: str, name: str, domain: str, owner: str, *, asked: bool) -> None:
        """It has no entry: is there such an address?"""
        table = self._table
        known = table.is_mailbox(name, domain) or name == "postmaster"  # RFC 5321 §4.5.1
        closed = table.domains[domain].closed
        if closed and not known and asked is not self._strict:
            raise UnknownAddress(f"{address} is not among the addresses of {domain}")
        if asked:
            self.known = known
        self._end(address, owner)

    def _end(self, address: str, owner: str) -> None:
        self.finals.setdefault(folded(address), Final(address, owner))
        if len(self.finals) > self._table.most:
            raise Endless(f"it comes to more than {self._table.most} addresses")


def _is_name(target: str) -> bool:
    """Tell whether a target is a quoted name alone, with an ``@`` inside its quotes."""
    return target.startswith('"') and target.endswith('"')
