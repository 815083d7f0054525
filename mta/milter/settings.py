"""What a filter is asked, how long it may take, and what becomes of mail while it is away."""

from dataclasses import dataclass
from enum import StrEnum


class WhenAway(StrEnum):
    """What becomes of a message that a filter could not examine."""

    TEMPFAIL = "tempfail"  # refused for now
    ACCEPT = "accept"  # let through, and its history says so
    HOLD = "hold"  # accepted, and kept until an operator has looked at it


class Mail(StrEnum):
    """Which mail a filter is shown."""

    ALL = "all"
    SUBMISSION = "submission"  # new mail: from who has logged in, or at a listener for it
    RELAY = "relay"  # all other


@dataclass(frozen=True, slots=True)
class MilterSettings:
    """One filter.  Times in seconds."""

    name: str  # what the log and the trace call it
    endpoint: str  # Twisted endpoint string of a client
    listeners: tuple[str, ...] = ()  # by name; none: all
    mail: Mail = Mail.ALL
    connect_s: float = 10.0  # until it has agreed
    command_s: float = 30.0  # for its answer to a command
    content_s: float = 60.0  # for its answer to a field or a piece of the body
    end_s: float = 300.0  # for each sign of life at the end of a message
    when_away: WhenAway = WhenAway.TEMPFAIL
    max_body: int | None = None  # octets; messages with more are not examined

    def concerns(self, listener: str, *, submission: bool) -> bool:
        """Tell whether it is shown such mail."""
        if self.listeners and listener not in self.listeners:
            return False
        return self.mail is Mail.ALL or (self.mail is Mail.SUBMISSION) is submission
