"""A restraint: somebody is sent nothing, or less, for a time.

Operators suspend (``mta suspend``); rules about causes suspend or slow down exactly the source
address and the site that a reply was about (``mta throttle``).  Each is a row in the spool, which
all processes keep to.
"""

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
    scope: str  # "all", "route", "site", "domain" or "login"
    name: str  # whom it is about; of a site its name
    reason: str
    since_ms: int
    until_ms: int | None = None  # None: until it is ended
    site_key: str = ""  # of what was decided by itself: this site alone
    source: str = ""  # and from this address of ours; "": the system's
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
        """Tell whether it is about ``mail``; of a site of which only the name is known, by that."""
        if self.scope == "site":
            return self._about_site(mail)
        marks = (("login", mail.login), ("route", mail.route), ("domain", mail.domain))
        return self.scope == "all" or (self.scope, self.name) in marks

    def _about_site(self, mail: Marks) -> bool:
        if self.site_key and mail.sources is not None and self.source not in mail.sources:
            return False
        if self.site_key and mail.site_key:
            return self.site_key == mail.site_key
        return self.name != "" and self.name in (mail.site, mail.site_key)

    def level_at(self, now_ms: int) -> int:
        """Return how slow it makes: a level less after each step, until nothing is left of it."""
        if not self.holds(now_ms) or self.until_ms is None or not self.step_ms:
            return self.level if self.holds(now_ms) else 0
        return min(self.level, -((now_ms - self.until_ms) // self.step_ms))

    @property
    def whom(self) -> str:
        """Say whom it is about."""
        if self.scope == "all":
            return "all mail"
        return f"{self.scope} {self.name}" + (f" from {self.source}" if self.source else "")

    @property
    def words(self) -> str:
        """Say what it is, for reports and listings."""
        verb = "suspended" if self.verb == "suspend" else "slowed down"
        return f"{self.whom} is {verb}: {self.reason}"
