"""Processes on one spool, each with a gate and a clock of its own."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.gate.gate import Gate
from mta.policy.rules import Policy

NOW_S = 1_800_000_000.0


class Process:
    """One process: its gate over a real spool, moved by hand."""

    def __init__(self, spool, policy):
        self.spool = spool
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.events = []
        self.gate = Gate(
            self.clock,
            spool.database,
            None,
            lambda _, domain: domain,
            policy,
            self.events.append,
            lambda: int(self.clock.seconds() * 1000),
        )
        self.gate.shared.load(spool.url)

    def exchange(self):
        """What happens once a second."""
        self.spool.wait(self.gate.shared.exchange())

    def arrive(self, login="", address="192.0.2.1"):
        """A client, logged in if a login is given."""
        passage = self.gate.arrive("submission", address)
        if login:
            assert passage.logged_in(login) is None
        return passage

    def message(self, passage, count=1, size=1000):
        """Decide on a message, whatever must be asked."""
        ruling = passage.message("a@example.org", ["example.com"], count, size)
        if ruling is not None and not hasattr(ruling, "action"):
            return self.spool.wait(Deferred.fromCoroutine(ruling))
        return ruling

    def stop(self):
        """The orderly end."""
        self.spool.wait(Deferred.fromCoroutine(self.gate.shared.stop()))


@pytest.fixture
def process(spool):
    """Start a process on the spool."""
    return lambda policy=None: Process(spool, policy or Policy())
