"""Which rule speaks about a failure, and what it says.  Pure.

Rules are asked in their order, and the first that fits decides: those of the operator, then
those that come with the program (``shipped.toml``).  A rule that names several things fits where
each of them does.  What no rule knows has the cause "other".

Trusts nothing: a reply is a stranger's text.  It is cut, searched in linear time (``pattern``)
and never does more than choose among what the rules say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mta.causes.pattern import MOST_TEXT, Pattern
from mta.mail.cause import Cause
from mta.mail.outcome import Outcome

_REMEMBERED = 2000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a failure."""

    code: int = 0  # 0: no reply came, the words are ours
    enhanced: str = ""
    text: str = ""
    stage: str = ""  # ``Outcome.command``
    host: str = ""  # who said it

    @classmethod
    def of(cls, outcome: Outcome) -> "Facts":
        """Take them from an outcome."""
        host = outcome.peer.host if outcome.peer is not None else ""
        text = outcome.text[:MOST_TEXT]
        return cls(outcome.code, outcome.enhanced, text, outcome.command, host.lower())


@dataclass(frozen=True, slots=True)
class Action:
    """What a cause has as its consequence, for the source address and the site it was met at."""

    verb: str  # "slow" or "suspend"
    for_s: float  # at first; repeats make it longer
    samples: int = 1  # so many such replies
    window_s: float = 600.0  # within so long


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; empty: anything."""

    name: str
    cause: Cause
    text: tuple[Pattern, ...] = ()  # one of them is in the text
    codes: tuple[str, ...] = ()  # beginnings of the code; "0" is no reply
    status: tuple[str, ...] = ()  # enhanced codes; "4.7." is all that begin so
    stages: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  # "mx.example.org", or ".example.org" for all below
    action: Action | None = None

    def fits(self, facts: Facts) -> bool:
        """Tell whether the rule speaks about it."""
        if self.codes and not str(facts.code).startswith(self.codes):
            return False
        if self.status and not any(_is(facts.enhanced, one) for one in self.status):
            return False
        if self.stages and facts.stage not in self.stages:
            return False
        if self.hosts and not any(_below(facts.host, one) for one in self.hosts):
            return False
        return not self.text or any(one.found_in(facts.text) for one in self.text)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a failure."""

    cause: Cause
    rule: str = ""  # its name; "" where none fits
    action: Action | None = None


@dataclass(slots=True)
class Rules:
    """All rules in their order."""

    rules: tuple[Rule, ...] = ()
    _known: dict[Facts, Finding] = field(default_factory=dict)

    def find(self, facts: Facts) -> Finding:
        """Return what the first rule that fits says."""
        found = self._known.get(facts)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[facts] = _found(self.rules, facts)
        return found


def _found(rules: Iterable[Rule], facts: Facts) -> Finding:
    for rule in rules:
        if rule.fits(facts):
            return Finding(rule.cause, rule.name, rule.action)
    return Finding(Cause.OTHER)


def _is(enhanced: str, wanted: str) -> bool:
    return enhanced.startswith(wanted) if wanted.endswith(".") else enhanced == wanted


def _below(host: str, wanted: str) -> bool:
    return host.endswith(wanted) if wanted.startswith(".") else host == wanted
