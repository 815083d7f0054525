"""What was refused, in so few words that it can be counted: where, at what, how, and why.

A key is made of the event that the log has too.  Of its reason only what stands before the first
colon counts, because what stands behind it is the single case.
"""

import re
from typing import NamedTuple

from mta.mail.events import AuthenticationFailed, Event, Refused

PREFIX = "refused/"
OTHER = "other"
_REPLY = re.compile(r"[2-5]\d\d(?: [245]\.\d{1,3}\.\d{1,3})?")
_LONGEST = 60  # characters of a reason


class Refusal(NamedTuple):
    """One kind of refusal."""

    listener: str
    stage: str  # the command, "connect", "end of data"
    reply: str  # code and enhanced code
    reason: str

    @property
    def counter(self) -> str:
        """The name of its counter."""
        return PREFIX + "/".join(self)


def refusal(event: Event) -> Refusal | None:
    """Return what is to be counted of an event; as a rule nothing."""
    if isinstance(event, Refused):
        found = _REPLY.match(event.reply)
        reply = found[0] if found is not None else "none"
        stage = event.command or "command"
        return Refusal(event.origin.listener, stage, reply, _reason(event.reason))
    if isinstance(event, AuthenticationFailed) and event.reason != "blocked":  # told above as well
        reply = "454 4.7.0" if event.reason == "unavailable" else "535 5.7.8"
        return Refusal(event.origin.listener, "AUTH", reply, _reason(event.reason))
    return None


def of_counter(name: str) -> Refusal | None:
    """Return what a counter counts; None if it is another one."""
    parts = name.removeprefix(PREFIX).split("/", 3)
    return Refusal(*parts) if name.startswith(PREFIX) and len(parts) == 4 else None


def _reason(text: str) -> str:
    short = text.partition(":")[0][:_LONGEST].strip()
    return short if short and short.isprintable() else OTHER
