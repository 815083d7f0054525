"""A restraint: somebody is sent nothing, or less, for a time.

Operators suspend (``mta suspend``); rules about causes suspend or slow down exactly the source
address and the site that a reply was about (``mta throttle``).  Each is a row in the spool, which
all processes keep to.

One that names an address of ours is about mail that may go out from there.  A message that may go
out from two, one of each family, is kept back only where both are suspended for it
(``keeping_back``); where one is, it goes by the other family.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MOST_LEVEL = 8  # of slowness: one delivery in 128 seconds
BY_RULE = "rule"
"""Who has decided what no operator has."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What restraints know a piece of mail by; "" or None is what is not known of it."""

    login: str = ""
    route: str = ""
    domain: str = ""
    site_key: str = ""
    site: str = ""  # its name
    # Addresses of ours that it goes out from, one of a family; "": whichever the system takes
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Restraint:
    """One of them, as the spool has it; times are milliseconds of the wall clock."""

    id: int
    verb: str  # "suspend": nothing is dialled; "slow": fewer deliveries, by level
    scope: str  # "all", "route", "site", "domain", "login" or "source"
    name: str  # whom it is about; of a site its name, of an address of ours that
    reason: str
    since_ms: int
    until_ms: int | None = None  # None: until it is ended
    site_key: str = ""  # of what was decided by itself: this site alone
    # And from this address of ours.  "": the system's, of what was decided by itself; of what an
    # operator decided, whichever it is
    source: str = ""
    cause: str = ""
    rule: str = ""
    samples: tuple[str, ...] = ()
    was: int = 0  # the level before
    level: int = 1  # of a suspension: how many in a row
    step_ms: int = 0  # how long one level lasts
    who: str = ""
    expires: bool = False  # mail grows old meanwhile
    ended_ms: int | None = None
    ended_by: str = ""

    def holds(self, now_ms: int) -> bool:
        """Tell whether it is in force."""
        return self.ended_ms is None and (self.until_ms is None or now_ms < self.until_ms)

    def concerns(self, mail: Marks) -> bool:
        """Tell whether it is about ``mail``, or about one of the addresses that it goes out from.

        Of a site of which only the name is known, by that.
        """
        if self.by_source and mail.sources is not None and self.source not in mail.sources:
            return False
        if self.scope == "site":
            return self._about_site(mail)
        marks = (("login", mail.login), ("route", mail.route), ("domain", mail.domain))
        return self.scope in ("all", "source") or (self.scope, self.name) in marks

    def _about_site(self, mail: Marks) -> bool:
        if self.site_key and mail.site_key:
            return self.site_key == mail.site_key
        return self.name != "" and self.name in (mail.site, mail.site_key)

    def level_at(self, now_ms: int) -> int:
        """Return how slow it makes: a level less after each step, until nothing is left of it."""
        if not self.holds(now_ms) or self.until_ms is None or not self.step_ms:
            return self.level if self.holds(now_ms) else 0
        return min(self.level, -((now_ms - self.until_ms) // self.step_ms))

    @property
    def by_source(self) -> bool:
        """Whether it is about one address of ours."""
        return bool(self.site_key or self.source)

    @property
    def whom(self) -> str:
        """Say whom it is about."""
        if self.scope == "all":
            return "all mail"
        if self.scope == "source":
            return f"source address {self.name}"
        return f"{self.scope} {self.name}" + (f" from {self.source}" if self.source else "")

    @property
    def words(self) -> str:
        """Say what it is, for reports and listings."""
        verb = "suspended" if self.verb == "suspend" else "slowed down"
        return f"{self.whom} is {verb}: {self.reason}"


def barred(found: Iterable[Restraint], mail: Marks) -> frozenset[str]:
    """Return the addresses of ours from which nobody is dialled for ``mail``, of its own."""
    those = (one for one in found if one.verb == "suspend" and one.by_source and one.concerns(mail))
    return frozenset(one.source for one in those).intersection(mail.sources or ())


def keeping_back(found: Iterable[Restraint], mail: Marks) -> list[Restraint]:
    """Return the suspensions that keep ``mail`` from being dialled, of ``found``.

    What is said about one address of ours does only where all that it may go out from are
    suspended; where those are not known, each does.
    """
    those = [one for one in found if one.verb == "suspend" and one.concerns(mail)]
    if mail.sources is None or barred(those, mail).issuperset(mail.sources):
        return those
    return [one for one in those if not one.by_source]
