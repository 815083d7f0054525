"""Which recipients an operator means: the filters that all listings and verbs share.

Patterns are exact, or have ``*`` for any text; ``@example.org`` means every address of
that domain.  Letters match in either case (ASCII only on SQLite, whose ``lower`` is so).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, text

from mta.spool.schema import WAITING, State, messages, recipients

NULL_SENDER = "<>"


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold.  Without a state it is what still waits: queued and held."""

    ids: tuple[str, ...] = ()  # queue ids of messages
    sender: str = ""  # pattern; "<>" is the null sender
    recipient: str = ""  # pattern
    domain: str = ""  # of the recipient, pattern
    state: State | None = None
    among: tuple[State, ...] = ()  # or: one of these
    min_age_ms: int | None = None  # since arrival
    max_age_ms: int | None = None
    min_attempts: int | None = None
    max_attempts: int | None = None
    min_next_ms: int | None = None  # from now until the next attempt is due
    max_next_ms: int | None = None
    min_size: int | None = None  # octets
    max_size: int | None = None
    login: str = ""  # of the submitter, pattern
    code: int | None = None  # of the last reply
    beyond: str = ""  # queue id: messages after this one
    upto: str = ""  # queue id: this message is the last
    reply: str = ""  # in the last reply, anywhere; "4.7.1" finds the enhanced code too


def conditions(wanted: Filter, now_ms: int) -> list[ColumnElement[bool]]:
    """Return what ``wanted`` asks of a row of ``messages`` joined with ``recipients``."""
    found = _among(wanted.among) if wanted.among else _state(wanted.state)
    if wanted.ids:
        found.append(recipients.c.message_id.in_(wanted.ids))
    if wanted.beyond:
        found.append(recipients.c.message_id > wanted.beyond)
    if wanted.upto:
        found.append(recipients.c.message_id <= wanted.upto)
    for column, pattern in (
        (messages.c.sender, wanted.sender),
        (recipients.c.domain, wanted.domain),
        (messages.c.login, wanted.login),
    ):
        if pattern:
            found.append(_matches(column, pattern))
    if wanted.recipient:  # as it is, or as the client named it
        given = and_(text("recipients.given <> ''"), _matches(recipients.c.given, wanted.recipient))
        found.append(or_(_matches(recipients.c.address, wanted.recipient), given))
    found += _ranges(wanted, now_ms)
    if wanted.code is not None:
        found.append(recipients.c.last_code == wanted.code)
    if wanted.reply:
        answer = recipients.c.last_enhanced + " " + recipients.c.last_text
        found.append(_matches(answer, f"*{wanted.reply}*"))
    return found


def _among(states: Sequence[State]) -> list[ColumnElement[bool]]:
    listed = ", ".join(f"'{state.value}'" for state in states)
    return [and_(text(f"recipients.state IN ({listed})"))]


def _state(state: State | None) -> list[ColumnElement[bool]]:
    """Constants as text, not parameters, so that the index of what waits can serve."""
    waiting = and_(text("recipients.state IN ('queued', 'held')"))
    if state is None:
        return [waiting]
    condition = and_(text(f"recipients.state = '{state.value}'"))
    return [waiting, condition] if state in WAITING else [condition]


def _matches(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    if pattern == NULL_SENDER:
        return column == ""
    if pattern.startswith("@"):
        pattern = f"*{pattern}"
    if "*" not in pattern:
        return func.lower(column) == func.lower(pattern)
    like = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
    return func.lower(column).like(func.lower(like), escape="\\")


def _ranges(wanted: Filter, now_ms: int) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, low, high in (
        (recipients.c.attempts, wanted.min_attempts, wanted.max_attempts),
        (messages.c.size, wanted.min_size, wanted.max_size),
        (recipients.c.next_attempt_ms - now_ms, wanted.min_next_ms, wanted.max_next_ms),
        (now_ms - messages.c.created_ms, wanted.min_age_ms, wanted.max_age_ms),
    ):
        if low is not None:
            found.append(column >= low)
        if high is not None:
            found.append(column <= high)
    return found
