"""Turn the tables of addresses into the values that ``mta.policy`` takes; reads their files.

Every fault is a ``ConfigError`` that names the file and the line, all of them at once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mta.config.address_sections import Domain, Rewrite
from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings
from mta.mail.address import folded, unquoted
from mta.mail.srs import Srs
from mta.policy.addresses import Addresses, Canonical
from mta.policy.alias_file import (
    INCLUDE,
    AliasSyntax,
    key,
    mailbox_follows,
    parse,
    parse_list,
    target,
)
from mta.policy.aliases import Entry, LocalAddresses, LocalDomain
from mta.policy.rewriting import Rewrites


def addresses(settings: Settings) -> Addresses | None:
    """Return the tables, or None if there are none; ``ConfigError``."""
    if not (settings.domain or settings.rewrite):
        return None
    reader = _Reader(settings)
    local = reader.local()
    canonical = tuple(map(reader.canonical, settings.rewrite))
    srs = reader.srs()
    if not reader.problems:
        reader.check(local)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Addresses(local, canonical, srs)


class _Reader:
    """Gathers entries, and what is wrong with them."""

    def __init__(self, settings: Settings) -> None:
        self.problems: list[Problem] = []
        self._settings = settings
        self._entries: dict[str, Entry] = {}
        self._places: dict[str, tuple[Path, str]] = {}  # where an entry stands

    def local(self) -> LocalAddresses:
        """Return the domains and their aliases."""
        settings = self._settings
        recipients = {one.name: frozenset(self._recipients(one)) for one in settings.domain}
        for one in settings.domain:
            place = f'domain["{one.name}"]'
            self._table(one.aliases, f"{place}.aliases", one.name)
            self._files(one.alias_files, one.name)
            if one.catch_all:
                self._add(f"@{one.name}", one.catch_all, (settings.file, f"{place}.catch_all"))
        self._table(settings.addresses.aliases, "addresses.aliases", "")
        self._files(settings.addresses.alias_files, "")
        known = {name.rpartition("@")[2] for name in self._entries}
        domains = {
            one.name: LocalDomain(
                one.name,
                recipients[one.name],
                one.unknown == "refuse"
                if one.unknown
                else bool(recipients[one.name]) or one.name in known,
            )
            for one in settings.domain
        }
        return LocalAddresses(
            domains,
            self._entries,
            settings.addresses.extension,
            settings.reports.postmaster,
            settings.addresses.most,
        )

    def check(self, local: LocalAddresses) -> None:
        """Find circles, and aliases to addresses that do not exist."""
        for where, text in local.problems():
            file, place = self._places[where]
            self.problems.append(Problem(file, place, text))

    def canonical(self, one: Rewrite) -> Canonical:
        """Return a table of ``[[rewrite]]``."""
        pairs = list(one.addresses.items())
        for file in one.files:
            for number, line in self._lines(file):
                words = line.split()
                if len(words) == 2:
                    pairs.append((words[0], words[1]))
                else:
                    self._fault(file, number, "needs two columns: an address, and what replaces it")
        try:
            table = Rewrites.of(pairs)
        except ValueError as error:
            place = f'rewrite["{one.name}"]'
            self.problems.append(Problem(self._settings.file, place, str(error)))
            table = Rewrites()
        submission, relay = one.mail != "relay", one.mail != "submission"
        return Canonical(one.name, table, one.senders, one.recipients, submission, relay)

    def srs(self) -> Srs | None:
        """Return SRS with its secrets."""
        section = self._settings.srs
        if section.domain is None or section.secret is None:
            return None
        try:
            secrets = [line.strip() for line in section.secret.reveal().splitlines()]
        except ValueError as error:
            self.problems.append(Problem(self._settings.file, "srs", str(error)))
            return None
        keys = tuple(line.encode("utf-8") for line in secrets if line and line[0] != "#")
        if not keys:
            self.problems.append(Problem(self._settings.file, "srs", "there is no secret in it"))
            return None
        return Srs(section.domain, keys, section.max_age.days, section.hash_length)

    def _recipients(self, domain: Domain) -> Iterator[str]:
        for name in domain.recipients:
            yield _name(name)
        for file in domain.recipient_files:
            for number, line in self._lines(file):
                try:
                    name = target(line)
                    elsewhere = mailbox_follows(name) and folded(name).rpartition("@")[2]
                    if elsewhere not in (False, domain.name) or name[0] in ":@":
                        raise ValueError(f"{name} is not in {domain.name}")
                except ValueError as error:
                    self._fault(file, number, str(error))
                else:
                    yield _name(name)

    def _table(self, table: dict[str, tuple[str, ...]], place: str, domain: str) -> None:
        for name, targets in table.items():
            self._add(_key(name, domain), targets, (self._settings.file, f"{place}.{name}"))

    def _files(self, files: Sequence[Path], domain: str) -> None:
        for file in files:
            text = self._read(file)
            try:
                for line in parse(text):
                    name = _key(line.key, domain)
                    if domain and name.rpartition("@")[2] != domain:
                        self._fault(file, line.number, f"{line.key} is not in {domain}")
                    else:
                        self._add(name, line.targets, (file, f":{line.number}"))
            except AliasSyntax as error:
                self._fault(file, error.line, str(error))

    def _add(self, name: str, targets: Sequence[str], place: tuple[Path, str]) -> None:
        file, where = place
        shown = f"{self._shown(file)}{where}" if where.startswith(":") else where
        domain = name.rpartition("@")[2]
        if domain and not any(one.name == domain for one in self._settings.domain):
            text = f"{domain} is no [[domain]] of ours: only addresses there have aliases"
            self.problems.append(Problem(file, where, text))
        elif name in self._entries:
            text = f'"{name.rstrip("@")}" stands there twice, first at {self._entries[name].where}'
            self.problems.append(Problem(file, where, text))
        else:
            self._entries[name] = Entry(tuple(self._included(targets, place)), shown)
            self._places[shown] = place

    def _shown(self, file: Path) -> Path:
        """Return a file as people know it: from the configuration's directory on."""
        directory = self._settings.file.absolute().parent
        return file.relative_to(directory) if file.is_relative_to(directory) else file

    def _included(self, targets: Sequence[str], place: tuple[Path, str]) -> Iterator[str]:
        for one in targets:
            if not one.lower().startswith(INCLUDE):
                yield one
                continue
            file = place[0].parent / Path(one[len(INCLUDE) :]).expanduser()
            try:
                yield from (address for _, address in parse_list(self._read(file)))
            except AliasSyntax as error:
                self._fault(file, error.line, str(error))

    def _lines(self, file: Path) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(self._read(file).splitlines(), 1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield number, text

    def _read(self, file: Path) -> str:
        try:
            return file.read_text("utf-8")
        except OSError as error:
            self.problems.append(Problem(file, "", f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            self.problems.append(Problem(file, "", "is not UTF-8"))
        return ""

    def _fault(self, file: Path, line: int, text: str) -> None:
        self.problems.append(Problem(file, f":{line}", text))


def _name(text: str) -> str:
    return folded(text).rpartition("@")[0] if mailbox_follows(text) else unquoted(text).lower()


def _key(text: str, domain: str) -> str:
    """Return the key of an entry; a name alone is in ``domain``, or ("") in all."""
    name = key(text)
    if name.startswith("@"):
        return name
    return folded(name) if mailbox_follows(name) else f"{unquoted(name).lower()}@{domain}"
