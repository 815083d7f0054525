"""One client before the policy, from its connection to its end.

Answers at once from what is in memory, except for what must be asked: DNS, the suppression
list if it has entries, and once an hour what a login usually sends.
"""

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from mta.mail.events import Alert
from mta.policy import brake, guard, limits, recipients, senders
from mta.policy.decision import Action, Decision, refuse
from mta.policy.guard import GuardSettings
from mta.policy.limits import Applied, Measure
from mta.policy.matching import Subject, parts
from mta.policy.recipients import Domain
from mta.policy.senders import SenderRule
from mta.spool import brakes, suppressions

if TYPE_CHECKING:
    from mta.gate.gate import Gate

Ruling: TypeAlias = Decision | None

_ON_LOGIN = (Measure.CONNECTIONS, Measure.SESSIONS, Measure.ERRORS)
_OF_MAIL = (Measure.MESSAGES, Measure.RECIPIENTS, Measure.OCTETS)
_CANNOT_SAY = refuse("the suppression list cannot be read", 451, "4.3.0", "Try again later")


class Passage:
    """Made by ``Gate.arrive``."""

    def __init__(self, gate: "Gate", subject: Subject) -> None:
        self._gate = gate
        self._policy = gate.policy
        self._counts = gate.shared.counts
        self._subject = subject
        self._sender = ""  # of the message in hand: routes go by it
        self._claimed = ""  # as the client has named it
        self._sessions: list[str] = []  # gauges that count us
        self._counted: list[tuple[str, int, int, int, int]] = []  # for the last message
        self._applied: tuple[Applied, ...] = ()
        self._rule: SenderRule | None = None
        self._settle()
        self.refusal: Ruling = self._enter(self._applied) if self._applied else None

    async def may_log_in(self, login: str) -> Ruling:
        """Make those wait who have failed too often, and turn them away for a while."""
        settings = self._policy.guard
        if settings is None:
            return None
        pair, address, everywhere, home = self._guarded(settings, login)
        now_ms, used, window_ms = self._gate.now_ms(), self._counts.used, settings.window_ms
        tally = guard.Tally(
            used(pair, window_ms, now_ms),
            used(address, window_ms, now_ms),
            used(everywhere, window_ms, now_ms),
            used(home, guard.HOME_MS, now_ms) > 0,
        )
        delay_s, decision = guard.judge(settings, tally)
        if delay_s:
            await deferLater(self._gate.clock, delay_s)
        return decision

    def login_failed(self, login: str) -> None:
        """Count it, against the address, the login, and the two together.

        Who names nobody counts against the address alone: he has no login to be shut out of.
        """
        settings = self._policy.guard
        if settings is None:
            return
        now_ms = self._gate.now_ms()
        pair, address, everywhere, _ = self._guarded(settings, login)
        for key in (pair, address, everywhere) if login else (address,):
            self._counts.add(key, settings.window_ms, 1, now_ms)

    def logged_in(self, login: str) -> Ruling:
        """Take the login for who the client is, unless a limit of that login is against it."""
        now_ms = self._gate.now_ms()
        if self._policy.guard is not None:
            home = self._guarded(self._policy.guard, login)[3]
            if not self._counts.used(home, guard.HOME_MS, now_ms):
                self._counts.add(home, guard.HOME_MS, 1, now_ms)
        former = self._subject, self._applied, self._rule
        before = {bound.key for bound in self._applied}
        self._subject = self._subject._replace(login=login)
        self._settle()
        new = tuple(bound for bound in self._applied if bound.key not in before)
        decision = self._enter(new) if new else None
        if decision is not None:
            self._subject, self._applied, self._rule = former
        return decision

    def _guarded(self, settings: GuardSettings, login: str) -> tuple[str, str, str, str]:
        return guard.keys(self._subject.address, login, settings.ipv6_prefix)

    def refused(self) -> None:
        """Count a refused command."""
        self._add(Measure.ERRORS, 1)

    def mail(self, sender: str) -> Ruling:
        """Decide on the envelope sender, and on one more message."""
        self._sender = self._claimed = sender
        decision = self._judge(Measure.MESSAGES, 1) if self._applied else None
        if decision is not None and decision.refuses:
            return decision
        if self._rule is not None:
            owned = senders.judge_sender(self._rule, self._subject.login, sender)
            if owned is not None and owned.rewrite:
                self._sender = owned.rewrite
            return owned or decision
        return decision

    def rewritten(self, sender: str) -> None:
        """Take the sender that routes are chosen by: tables have changed it."""
        self._sender = sender

    def recipient(self, address: str, before: int) -> Ruling | Awaitable[Ruling]:
        """Decide on one recipient; of a stranger's mail on its sender's domain first."""
        asked = self._policy.recipients.null_mx_senders and self._subject.outside
        domain = parts(self._claimed)[1] if asked and not self._subject.login else ""
        if not domain or domain.startswith("["):
            return self._recipient(address, before)
        found = self._gate.domains.ask(domain)
        if isinstance(found, Awaitable):
            return self._answerable(found, domain, address, before)
        return recipients.judge_sender_domain(domain, found) or self._recipient(address, before)

    async def _answerable(
        self, found: Awaitable[Domain], domain: str, address: str, before: int
    ) -> Ruling:
        refused = recipients.judge_sender_domain(domain, await found)
        if refused is not None:
            return refused
        ruling = self._recipient(address, before)
        return await ruling if isinstance(ruling, Awaitable) else ruling

    def _recipient(self, address: str, before: int) -> Ruling | Awaitable[Ruling]:
        rules = self._policy.recipients
        decision = self._judge(Measure.RECIPIENTS, before + 1) if self._applied else None
        if decision is None or not decision.refuses:
            decision = rules.judge(address) or decision
        if decision is not None and decision.refuses:
            return decision
        if self._gate.shared.suppressing:
            return self._unless_suppressed(address, decision)
        return self._by_domain(address, decision) if rules.asks_dns else decision

    def checks_author(self) -> bool:
        """Tell whether the header matters."""
        return self._rule is not None and self._rule.header

    def author(self, fields: int, addresses: tuple[str, ...] | None) -> Ruling:
        """Decide on the From fields."""
        assert self._rule is not None
        return senders.judge_authors(self._rule, self._subject.login, fields, addresses)

    def message(
        self, sender: str, domains: Iterable[str], count: int, size: int
    ) -> Ruling | Awaitable[Ruling]:
        """Decide on a whole message, and count it."""
        policy, login = self._policy, self._subject.login
        held = None
        if self._applied:
            amounts = zip(_OF_MAIL, (1, count, size), strict=True)
            decisions = [self._judge(measure, amount) for measure, amount in amounts]
            for decision in decisions:
                if decision is not None and decision.refuses:
                    return decision
            held = next(filter(None, decisions), None)
        if policy.holds.rules:
            held = held or policy.holds.judge(self._subject, sender, domains, size)
        self._count(count, size)
        if policy.brake is None or not login:
            return held
        if login in self._gate.shared.braked:
            return held or brake.braked()
        if login in self._gate.shared.excused:
            return held
        if self._gate.learned.known(login):
            tripped = self._tripped(self._gate.learned.cached(login))
            return held if tripped is None else self._alarm(tripped)
        return self._learn(held)

    def not_accepted(self) -> None:
        """Take back what the last message counted."""
        for key, window_ms, amount, now_ms, keep_ms in self._counted:
            self._counts.add(key, window_ms, -amount, now_ms, keep_ms)
        self._counted = []

    def end(self) -> None:
        """The client has gone."""
        for key in self._sessions:
            self._counts.in_use[key] -= 1
            if self._counts.in_use[key] <= 0:
                del self._counts.in_use[key]
        self._sessions = []

    def _settle(self) -> None:
        """Find out what holds for the client as it is known now."""
        policy = self._policy
        if policy.limits.rules:
            self._applied = policy.limits.applied(self._subject)
        if policy.senders.rules:
            self._rule = policy.senders.rule_for(self._subject)

    def _enter(self, bounds: tuple[Applied, ...]) -> Ruling:
        """Count a connection and a session, if there is room for them."""
        now_ms = self._gate.now_ms()
        for measure, more in zip(_ON_LOGIN, (1, 1, 1), strict=True):
            decision = limits.judge(bounds, measure, more, now_ms, self._counts)
            if decision is not None:
                return decision
        for bound in bounds:
            if bound.measure is Measure.CONNECTIONS:
                self._counts.add(bound.key, bound.window_ms, 1, now_ms)
            elif bound.measure is Measure.SESSIONS:
                self._counts.in_use[bound.key] += 1
                self._sessions.append(bound.key)
        return None

    def _judge(self, measure: Measure, more: int) -> Ruling:
        return limits.judge(self._applied, measure, more, self._gate.now_ms(), self._counts)

    def _add(self, measure: Measure, amount: int) -> None:
        now_ms = self._gate.now_ms()
        for bound in self._applied:
            if bound.measure is measure:
                self._counts.add(bound.key, bound.window_ms, amount, now_ms)

    def _count(self, count: int, size: int) -> None:
        self._counted = []
        if not self._applied and (self._policy.brake is None or not self._subject.login):
            return
        now_ms = self._gate.now_ms()
        amounts = dict(zip(_OF_MAIL, (1, count, size), strict=True))
        self._counted = [
            (bound.key, bound.window_ms, amounts[bound.measure], now_ms, 0)
            for bound in self._applied
            if bound.measure in amounts
        ]
        login = self._subject.login
        if self._policy.brake is not None and login:
            key, keep_ms = brake.key(login), brake.HISTORY_MS
            self._counted.append((key, limits.HOUR_MS, count, now_ms, keep_ms))
        for one in self._counted:
            self._counts.add(one[0], one[1], one[2], one[3], one[4])

    async def _unless_suppressed(self, address: str, decision: Ruling) -> Ruling:
        """Ask the suppression list, then DNS; ``decision`` is to hold, or nothing."""
        try:
            entry = await self._gate.store.read(
                suppressions.concerning, suppressions.prepared(address), self._subject.login
            )
        except CancelledError:
            raise
        except Exception:
            return _CANNOT_SAY
        if entry is not None:
            return recipients.suppressed(entry.address, entry.reason)
        if not self._policy.recipients.asks_dns:
            return decision
        ruling = self._by_domain(address, decision)
        return await ruling if isinstance(ruling, Awaitable) else ruling

    def _by_domain(self, address: str, decision: Ruling) -> Ruling | Awaitable[Ruling]:
        """Ask DNS, where mail goes to the domain's own hosts; at once if the answer is known."""
        domain = parts(address)[1]
        destination = self._gate.destination(self._sender, domain)
        if not destination.startswith("mx:") or domain.startswith("["):
            return decision
        found = self._gate.domains.ask(domain)
        if isinstance(found, Awaitable):
            return self._when_known(found, domain, decision)
        return self._policy.recipients.judge_domain(domain, found) or decision

    async def _when_known(self, found: Awaitable[Domain], domain: str, decision: Ruling) -> Ruling:
        return self._policy.recipients.judge_domain(domain, await found) or decision

    async def _learn(self, held: Ruling) -> Ruling:
        settings, login = self._policy.brake, self._subject.login
        assert settings is not None
        try:
            usually = await self._gate.learned.usual(settings, login)
        except CancelledError:
            raise
        except Exception:  # the spool is away, and the message will not be accepted either
            return held
        tripped = self._tripped(usually)
        return held if tripped is None else await self._alarm(tripped)

    def _tripped(self, usually: float | None) -> Ruling:
        assert self._policy.brake is not None
        sent = self._counts.used(
            brake.key(self._subject.login), limits.HOUR_MS, self._gate.now_ms()
        )
        return brake.judge(self._policy.brake, sent, usually)

    async def _alarm(self, tripped: Decision) -> Ruling:
        """Brake the login; one process, the first, raises the alarm."""
        login, shared = self._subject.login, self._gate.shared
        shared.braked |= {login}
        try:
            first = await self._gate.store.write(
                brakes.trip, login, tripped.reason, self._gate.now_ms()
            )
        except CancelledError:
            shared.braked -= {login}
            raise
        except Exception:  # held all the same; the next message tries again
            shared.braked -= {login}
            return tripped
        if first:
            self._gate.emit(Alert("compromise", login, tripped.reason))
        assert tripped.action is Action.HOLD
        return tripped
