"""How much: connections, messages, recipients, octets and errors, per hour and day; sessions.

Pure functions over counters that somebody else keeps.  A window slides: what is used is the
count of the window that has begun, and of the one before it as much as still overlaps the
last hour (or day).  That takes two numbers for each counter and is never wrong by more than
an uneven load within the window before.

For each way of counting (``per``) the first rule that is about the client decides, so that
a limit for a login and one for its network hold side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from mta.policy.decision import Action, Decision, hold, refuse
from mta.policy.matching import Subject, Who, network_of

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Per(StrEnum):
    """Whose account something is put on."""

    LOGIN = "login"
    CLIENT = "client"  # one IPv4 address, or an IPv6 network
    NETWORK = "network"  # an IPv4 /24, or an IPv6 /48
    LISTENER = "listener"


class Measure(StrEnum):
    """What is counted."""

    CONNECTIONS = "connections"
    SESSIONS = "sessions"  # at the same time
    ERRORS = "errors"  # refused commands
    MESSAGES = "messages"
    RECIPIENTS = "recipients"
    OCTETS = "octets"


@dataclass(frozen=True, slots=True)
class Bound:
    """At most ``amount`` in ``window_ms``; 0 is at the same time."""

    measure: Measure
    window_ms: int
    amount: int


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One rule."""

    name: str
    per: Per
    who: Who
    bounds: tuple[Bound, ...]
    action: Action = Action.DEFER


class Applied(NamedTuple):
    """One bound as it holds for one client: ``key`` names the counter."""

    key: str
    measure: Measure
    window_ms: int
    amount: int
    action: Action
    rule: str


class Counts(Protocol):
    """Who keeps the counters."""

    def used(self, key: str, window_ms: int, now_ms: int) -> float:
        """Return what was used in the last ``window_ms``; with 0, what is in use now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """All rules, in order."""

    rules: tuple[LimitRule, ...] = ()
    ipv6_prefix: int = 64  # so many bits of an address are one client

    def applied(self, subject: Subject) -> tuple[Applied, ...]:
        """Return what holds for ``subject``."""
        found = []
        for per in Per:
            identity = _identity(per, subject, self.ipv6_prefix)
            rule = next(
                (rule for rule in self.rules if rule.per is per and rule.who.matches(subject)), None
            )
            if rule is None or not identity:
                continue
            for bound in rule.bounds:
                key = f"{bound.measure}/{bound.window_ms}:{per}:{identity}"
                found.append(
                    Applied(
                        key, bound.measure, bound.window_ms, bound.amount, rule.action, rule.name
                    )
                )
        return tuple(found)


def sliding(now: int, before: int, elapsed_ms: int, window_ms: int) -> float:
    """Return what was used in the last window, from the counts of this one and the one before."""
    return now + before * (1 - elapsed_ms / window_ms)


def judge(
    applied: Iterable[Applied], measure: Measure, more: int, now_ms: int, counts: Counts
) -> Decision | None:
    """Decide whether there is room for so much ``more``; of several, a refusal before a hold."""
    held = None
    for bound in applied:
        if bound.measure is not measure:
            continue
        if counts.used(bound.key, bound.window_ms, now_ms) + more <= bound.amount:
            continue
        if bound.action is not Action.HOLD:
            return _decision(bound)
        held = held or _decision(bound)
    return held


def _decision(bound: Applied) -> Decision:
    span = {0: "at a time", HOUR_MS: "an hour"}.get(bound.window_ms, "a day")
    reason = f"limit {bound.rule}: {bound.amount} {bound.measure} {span} ({bound.key})"
    if bound.action is Action.HOLD:
        return hold(reason)
    final = bound.action is Action.REFUSE
    if bound.measure in (Measure.CONNECTIONS, Measure.SESSIONS, Measure.ERRORS):
        if final:
            return refuse(reason, 554, "5.7.1", "No service is given to you here")
        return refuse(reason, 421, "4.7.0", "Too many connections; try again later")
    if final:
        return refuse(reason, 550, "5.7.1", "Too much mail")
    return refuse(reason, 451, "4.7.1", "Too much mail; try again later")


def _identity(per: Per, subject: Subject, ipv6_prefix: int) -> str:
    match per:
        case Per.LOGIN:
            return subject.login
        case Per.CLIENT:
            return network_of(subject.address, 32, ipv6_prefix)
        case Per.NETWORK:
            return network_of(subject.address, 24, 48)
        case Per.LISTENER:
            return subject.listener
