"""How long we wait for a client: one limit at a time, and what it is depends on whose turn it is.

A command has its time as a whole: octets that trickle in don't prolong it (slow-loris).  So has
an envelope: the same recipient again and again doesn't either.
Content must not pause for long and must keep up a rate on the whole.  While we are at
work ourselves there is no limit, and that time is not counted against the client.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mta.inbound.deadline import Deadline
from mta.inbound.settings import SessionLimits

ENVELOPE_S = 3600.0  # from MAIL to DATA, however many recipients there are
CLOSING_S = 10.0  # for the last reply, and TLS's own end, to get through


class Patience:
    """The time limits of one connection."""

    def __init__(
        self, clock: IReactorTime, limits: SessionLimits, expired: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._deadline = Deadline(clock, expired)
        self._content_since: float | None = None
        self._envelope_until: float | None = None
        self._octets = 0
        self._suspended_at: float | None = None

    def handshake(self) -> None:
        """TLS is being negotiated."""
        self._deadline.within(self._limits.handshake_timeout_s)

    def command(self, *, envelope: bool = False) -> None:
        """A command is waited for, from now on; ``envelope``: a message has begun with MAIL."""
        self._content_since = self._suspended_at = None
        if not envelope:
            self._envelope_until = None
            self._deadline.within(self._limits.command_timeout_s)
            return
        now = self._clock.seconds()
        until = self._envelope_until = self._envelope_until or now + ENVELOPE_S
        self._deadline.at(min(now + self._limits.command_timeout_s, until))

    def content(self, octets: int) -> None:
        """Content is waited for; so many more ``octets`` have come (RFC 5321 §4.5.3.2.5)."""
        now = self._clock.seconds()
        if self._content_since is None:
            self._content_since, self._octets = now, 0
        elif self._suspended_at is not None:
            self._content_since += now - self._suspended_at
        self._suspended_at = None
        self._octets += octets
        limits = self._limits
        whole = self._content_since + limits.data_timeout_s + self._octets / limits.data_rate
        self._deadline.at(min(now + limits.data_timeout_s, whole))

    def content_ended(self) -> None:
        """The next content is another message's."""
        self._content_since = None

    def suspend(self) -> None:
        """It is our turn."""
        if self._suspended_at is None:
            self._suspended_at = self._clock.seconds()
            self._deadline.suspend()

    @property
    def suspended(self) -> bool:
        """Whether it still is."""
        return self._suspended_at is not None

    def closing(self) -> None:
        """We have said our last word."""
        self._deadline.within(CLOSING_S)

    def stop(self) -> None:
        """The connection is gone."""
        self._deadline.stop()
