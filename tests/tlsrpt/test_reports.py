"""Counting and reporting go on and off with the settings, without a restart."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.tlsrpt.document import Author
from mta.tlsrpt.reports import TlsReports
from mta.tlsrpt.settings import ReportSettings
from mta.tlsrpt.tally import EVERY_S, Tally

SETTINGS = ReportSettings(Author("Home", "tls@home.test"), "tls@home.test", "relay.test")
INSIDE = ReportSettings(
    Author("Home", "tls@home.test"), "tls@home.test", "relay.test", private_addresses=True
)
SESSION = TlsSession("there.test", AppliedPolicy(PolicyType.NONE, "there.test"))


class Reporter:
    def __init__(self, settings: ReportSettings) -> None:
        self.settings, self.running = settings, False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


class Posting:
    tls: Any = None
    private = False


class World:
    def __init__(self, settings: ReportSettings | None) -> None:
        self.clock, self.written = Clock(), list[Any]()
        self.made: list[Reporter] = []
        self.posting = Posting()
        tally = Tally(self.clock, self, lambda event: None, lambda: 0)
        self.reports: Any = TlsReports(tally, self.posting, self.make, settings)  # type: ignore[arg-type]
        self.reports.start()

    def make(self, settings: ReportSettings) -> Any:
        self.made.append(Reporter(settings))
        return self.made[-1]

    def write(self, fn: Any, rows: Any) -> Deferred[None]:
        self.written += rows
        return succeed(None)


def test_off_costs_nothing() -> None:
    """No timer, no reporter, nobody to count."""
    world = World(None)
    assert world.reports.count is None
    assert world.made == [] and world.clock.getDelayedCalls() == []


def test_on_and_off_again() -> None:
    """A reload switches it on, changes it, and switches it off; what was counted is written."""
    world = World(None)
    world.reports.use(SETTINGS, "tls")
    world.reports.count(SESSION)
    (reporter,) = world.made
    assert reporter.running and world.posting.tls == "tls" and not world.posting.private
    world.reports.use(INSIDE, "other")
    assert reporter.settings == INSIDE and world.posting.private and len(world.made) == 1
    world.reports.use(None, "other")
    assert world.reports.count is None and not reporter.running
    world.clock.advance(EVERY_S)
    assert len(world.written) == 1
    assert world.clock.getDelayedCalls() == []


def test_the_end() -> None:
    """What was counted is written, and nothing is left that runs."""
    world = World(SETTINGS)
    world.reports.count(SESSION)
    done: list[Any] = []
    Deferred.fromCoroutine(world.reports.stop()).addBoth(done.append)
    assert done == [None] and len(world.written) == 1
    assert not world.made[0].running and world.clock.getDelayedCalls() == []
