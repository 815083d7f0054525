"""What a rule says of mail, or of a client: one value, acted on by ``mta.inbound``.

The client gets ``reply``, which is the same for everybody whom rules of a kind turn away;
``reason`` names the rule and goes to the log and the trace only.
"""

from dataclasses import dataclass
from enum import StrEnum

from mta.smtp.replies import Reply, reply


class Action(StrEnum):
    """What is to be done."""

    ACCEPT = "accept"  # perhaps with another address: ``Decision.rewrite``
    DEFER = "defer"  # 4xx
    REFUSE = "refuse"  # 5xx
    HOLD = "hold"  # accept, and keep it until an operator has looked at it


@dataclass(frozen=True, slots=True)
class Decision:
    """One rule's word.  Nothing against it, the common case, is None in the place of one."""

    action: Action
    reason: str
    code: int = 0  # DEFER and REFUSE only
    enhanced: str = ""
    text: str = ""
    rewrite: str = ""  # ACCEPT only: the address that takes the place of the one given

    @property
    def refuses(self) -> bool:
        """Whether the client is told no, for now or for good."""
        return self.action in (Action.DEFER, Action.REFUSE)

    @property
    def reply(self) -> Reply:
        """What the client is told."""
        assert self.refuses
        return reply(self.code, self.enhanced, self.text)


def refuse(reason: str, code: int, enhanced: str, text: str) -> Decision:
    """Return a refusal; a code below 500 defers."""
    action = Action.REFUSE if code >= 500 else Action.DEFER
    return Decision(action, reason, code, enhanced, text)


def hold(reason: str) -> Decision:
    """Return a decision to hold."""
    return Decision(Action.HOLD, reason)
