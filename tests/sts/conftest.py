"""Policies with everything they ask for in memory: DNS, policy hosts, spool, time."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.mail.security import Result
from mta.security.facts import Sts, StsMode
from mta.spool import sts
from mta.spool.errors import SpoolUnavailable
from mta.spool.sts import Stored
from mta.sts.fetch import NoPolicy
from mta.sts.policies import Policies
from mta.sts.policy import Policy
from mta.sts.renewal import Renewal
from mta.sts.settings import StsSettings

ENFORCE = Policy(StsMode.ENFORCE, 604_800, ("mx.e.test", "*.mail.test"))
START_S = 1_800_000_000.0


class Spool:
    """Does what ``Database`` does, with a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Stored] = {}
        self.away = False
        self.asked: list[str] = []

    def read(self, fn: Any, *arguments: Any) -> Deferred[Any]:
        self.asked.append(fn.__name__)
        assert fn is sts.get
        return self._away() or succeed(self.rows.get(*arguments))

    def write(self, fn: Any, *arguments: Any) -> Deferred[Any]:
        self.asked.append(fn.__name__)
        return self._away() or succeed(getattr(self, f"_{fn.__name__}")(*arguments))

    def _away(self) -> Deferred[Any] | None:
        return fail(SpoolUnavailable("away")) if self.away else None

    def _keep(self, stored: Stored) -> None:
        self.rows[stored.domain] = stored

    def _failed(self, domain: str, result: str, failure: str, now_ms: int) -> None:
        values = self._row(domain) | {"result": result, "failure": failure, "failed_ms": now_ms}
        self.rows[domain] = Stored(**values)

    def _used(self, domain: str, now_ms: int) -> None:
        self.rows[domain] = Stored(**self._row(domain) | {"used_ms": now_ms})

    def _row(self, domain: str) -> dict[str, Any]:
        row = self.rows.get(domain, Stored(domain))
        return {name: getattr(row, name) for name in Stored.__dataclass_fields__}

    def _claim_due(self, now_ms: int, again_ms: int, since_ms: int, most: int) -> list[Stored]:
        return [
            one
            for one in self.rows.values()
            if one.due_ms <= now_ms < one.expires_ms and one.used_ms >= since_ms
        ][:most]

    def _purge(self, before_ms: int) -> int:
        return 0


class Web:
    """What the policy hosts have; a fetch is answered at once, or by ``answer``."""

    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}
        self.fetches: list[str] = []
        self.slow = False
        self.waiting: list[tuple[str, Deferred[Policy]]] = []

    def __call__(self, domain: str) -> Deferred[Policy]:
        self.fetches.append(domain)
        waiting: Deferred[Policy] = Deferred()
        self.waiting.append((domain, waiting))
        if not self.slow:
            self.answer()
        return waiting

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for domain, deferred in waiting:
            if domain in self.policies:
                deferred.callback(self.policies[domain])
            else:
                deferred.errback(NoPolicy(f"mta-sts.{domain}: 404", Result.STS_FETCH_ERROR))

    def use(self, tls: Any) -> None:
        """Nobody is to be trusted here."""


class World:
    """All of it."""

    def __init__(self) -> None:
        self.clock = Clock()  # which begins anywhere, as reactors' clocks do
        self.spool = Spool()
        self.web = Web()
        self.ids: dict[str, str] = {}  # domain: of the TXT record
        self.dns_away = False
        self.asked: list[str] = []
        self.events: list[Any] = []
        self.policies, self.renewal = self.process()

    def wall_s(self) -> float:
        """The time of day."""
        return START_S + self.clock.seconds()

    def process(self) -> tuple[Policies, Renewal]:
        """Return another process's, with the same spool."""
        policies = Policies(
            self.clock, self, self.web, self.spool, self.events.append,  # type: ignore[arg-type]
            StsSettings(first_wait_s=5), now_ms=lambda: round(self.wall_s() * 1000),
        )  # fmt: skip
        return policies, Renewal(self.clock, self.spool, policies, self.events.append)  # type: ignore[arg-type]

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        self.asked.append(name)
        domain = name.removeprefix("_mta-sts.")
        if self.dns_away:
            return fail(DnsTemporary(f"{name} {rdtype}: SERVFAIL"))
        if domain not in self.ids:
            return fail(NoSuchName(name))
        record = f'"v=STSv1; id={self.ids[domain]};"'
        return succeed(Answer(name, (record,), 300))

    def publish(self, domain: str = "e.test", record: str = "1", policy: Policy = ENFORCE) -> None:
        self.ids[domain], self.web.policies[domain] = record, policy

    def start(self, domain: str = "e.test", host: str = "mx.e.test", **options: Any) -> list[Any]:
        """Ask; the list has the answer once there is one."""
        found: list[Any] = []
        work = Deferred.fromCoroutine(self.policies.facts(domain, host, **options))
        work.addBoth(found.append)
        return found

    def ask(self, domain: str = "e.test", host: str = "mx.e.test", **options: Any) -> Sts | None:
        """Ask, and be answered without any time passing."""
        found = self.start(domain, host, **options)
        assert found, "no answer yet"
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        answer: Sts | None = found[0]
        return answer


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def policy() -> Callable[..., Policy]:
    def make(mode: str = "enforce", age_s: int = 604_800, *mx: str) -> Policy:
        return Policy(StsMode(mode), age_s, mx or ENFORCE.mx)

    return make
