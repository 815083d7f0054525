"""What the inbound side asks of the policy; ``mta.gate`` answers, or nobody does.

A client is a ``Passage``, from its connection to its end.  None in the place of a decision
means that nothing is against it; it is the answer that costs nothing.
"""

from collections.abc import Awaitable, Iterable
from typing import Protocol, TypeAlias

from mta.policy.decision import Action, Decision
from mta.smtp.replies import Reply
from mta.spool.intake import Remark

Ruling: TypeAlias = Decision | None


class Passage(Protocol):
    """One client."""

    @property
    def refusal(self) -> Ruling:
        """What was decided of the connection."""

    def may_log_in(self, login: str) -> Awaitable[Ruling]:
        """Ask before a password is looked at; takes its time after failures."""

    def login_failed(self, login: str) -> None:
        """Say that the password, token or certificate was wrong; ``login`` "": nobody was named."""

    def logged_in(self, login: str) -> Ruling:
        """Say who the client is from now on, if nothing is against it."""

    def refused(self) -> None:
        """Say that a command was refused."""

    def mail(self, sender: str) -> Ruling:
        """Ask at MAIL."""

    def rewritten(self, sender: str) -> None:
        """Say under which sender the message goes on, where tables have another one."""

    def recipient(self, address: str, before: int) -> Ruling | Awaitable[Ruling]:
        """Ask at RCPT; ``before`` recipients are in the message already."""

    def checks_author(self) -> bool:
        """Tell whether ``author`` is to be asked."""

    def author(self, fields: int, addresses: tuple[str, ...] | None) -> Ruling:
        """Ask about the From fields of the header; None: they cannot be told."""

    def message(
        self, sender: str, domains: Iterable[str], count: int, size: int
    ) -> Ruling | Awaitable[Ruling]:
        """Ask about the whole message, to so many recipients; it counts from now on."""

    def not_accepted(self) -> None:
        """Say that the last message was not accepted after all."""

    def end(self) -> None:
        """Say that the client has gone."""


class Gate(Protocol):
    """The policy at work."""

    def arrive(self, listener: str, address: str, *, outside: bool = False) -> Passage:
        """Begin with a client."""


class _Free:
    """Nothing is against anybody."""

    refusal: Ruling = None

    async def may_log_in(self, login: str) -> Ruling:
        return None

    def login_failed(self, login: str) -> None:
        pass

    def logged_in(self, login: str) -> Ruling:
        return None

    def refused(self) -> None:
        pass

    def mail(self, sender: str) -> Ruling:
        return None

    def rewritten(self, sender: str) -> None:
        pass

    def recipient(self, address: str, before: int) -> Ruling:
        return None

    def checks_author(self) -> bool:
        return False

    def author(self, fields: int, addresses: tuple[str, ...] | None) -> Ruling:
        return None

    def message(self, sender: str, domains: Iterable[str], count: int, size: int) -> Ruling:
        return None

    def not_accepted(self) -> None:
        pass

    def end(self) -> None:
        pass


class Open:
    """A gate without a policy."""

    _free = _Free()

    def arrive(self, listener: str, address: str, *, outside: bool = False) -> Passage:
        """Let the client in, and everything it brings."""
        return self._free


_MOST_NOTED = 201
_NO_MORE = Remark("alias", "more aliases were used than are told", "addresses")


class Rulings:
    """What was decided of one message so far, short of refusing it."""

    def __init__(self) -> None:
        self.held = ""  # why; "": it is not
        self.remarks: list[Remark] = []
        self._noted = 0

    def obey(self, ruling: Ruling) -> tuple[Reply, str] | None:
        """Note what is to be done; return the reply and the reason of a refusal."""
        if ruling is None:
            return None
        if ruling.refuses:
            return ruling.reply, ruling.reason
        if ruling.action is Action.HOLD:
            self.held = self.held or ruling.reason
        elif ruling.rewrite:
            self.remarks.append(Remark("rewrite", ruling.reason))
        return None

    def note(self, remarks: Iterable[Remark]) -> None:
        """Note what tables of addresses have done, each once, and not without end.

        A client can name what leads to the same address as often as it likes.
        """
        for one in remarks:
            if self._noted >= _MOST_NOTED or one in self.remarks:
                continue
            self._noted += 1
            last = self._noted == _MOST_NOTED
            self.remarks.append(_NO_MORE if last else one)
