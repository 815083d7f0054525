"""The filters that every queue command shares: which recipients are meant.

A filter that selects nothing in particular is never taken for "everything" by a command
that changes something: it wants ``--all``.  Above all, ``-`` with an empty standard input
means no recipient, not every recipient.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

from mta.admin.exits import Exit, Failure
from mta.admin.ranges import AGES, COUNTS, SIZES, Range
from mta.mail.queue_id import is_queue_id
from mta.spool.filters import Filter
from mta.spool.schema import State

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MARKS = "*!"  # what ``queue list`` puts behind an id


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the arguments and options of one command select."""

    filter: Filter
    nothing: bool  # ids were asked for on standard input, and none came

    @property
    def everything(self) -> bool:
        """Nothing narrows the selection."""
        return not self.nothing and self.filter == Filter()


@dataclass(frozen=True, slots=True)
class _Typed:
    """The filter options as click gives them; the names are those of its parameters."""

    ids: tuple[str, ...]
    more_ids: tuple[str, ...]
    sender: str
    recipient: str
    domain: str
    state: str | None
    age: Range
    next_attempt: Range
    attempts: Range
    size: Range
    login: str
    code: int | None
    reply: str


_OPTIONS = (
    click.argument("ids", metavar="[ID|-]...", nargs=-1),
    click.option(
        "--id", "more_ids", metavar="ID", multiple=True, help="A queue id; '-': ids on stdin."
    ),
    click.option(
        "--from", "sender", metavar="ADDRESS", default="", help="Sender; '<>' is the null sender."
    ),
    click.option("--to", "recipient", metavar="ADDRESS", default="", help="Recipient."),
    click.option("--domain", metavar="DOMAIN", default="", help="The recipient's domain."),
    click.option("--state", type=click.Choice([state.value for state in State]), help="State."),
    click.option("--age", type=AGES, default=Range(), help="Since arrival: '>1h', '1h..2d'."),
    click.option(
        "--next", "next_attempt", type=AGES, default=Range(), help="Until the next attempt: '<10m'."
    ),
    click.option("--attempts", type=COUNTS, default=Range(), help="'3', '>=3', '1..5'."),
    click.option("--size", type=SIZES, default=Range(), help="Of the message: '>10MiB'."),
    click.option("--login", metavar="LOGIN", default="", help="Who submitted it."),
    click.option("--code", type=int, metavar="CODE", help="Code of the last reply: 451."),
    click.option("--reply", metavar="TEXT", default="", help="In the last reply: '4.7.1', 'spam'."),
)


def filters(command: _Command) -> _Command:
    """Add the filters to a command, which gets them as one argument ``chosen``."""

    def with_chosen(**options: Any) -> Any:
        typed = _Typed(**{field.name: options.pop(field.name) for field in fields(_Typed)})
        return command(chosen=_chosen(typed), **options)

    with_chosen.__name__ = command.__name__
    with_chosen.__doc__ = command.__doc__
    decorated: Any = with_chosen
    decorated.__click_params__ = list(getattr(command, "__click_params__", []))
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _chosen(typed: _Typed) -> Chosen:
    words = [*typed.ids, *typed.more_ids]
    ids = tuple(dict.fromkeys(_queue_ids(words)))
    return Chosen(
        Filter(
            ids=ids,
            sender=typed.sender,
            recipient=typed.recipient,
            domain=typed.domain,
            state=None if typed.state is None else State(typed.state),
            min_age_ms=typed.age.low,
            max_age_ms=typed.age.high,
            min_attempts=typed.attempts.low,
            max_attempts=typed.attempts.high,
            min_next_ms=typed.next_attempt.low,
            max_next_ms=typed.next_attempt.high,
            min_size=typed.size.low,
            max_size=typed.size.high,
            login=typed.login,
            code=typed.code,
            reply=typed.reply,
        ),
        nothing=bool(words) and not ids,
    )


def _queue_ids(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from _ids_on_stdin()
        else:
            yield queue_id(word)


def queue_id(word: str) -> str:
    """Return a queue id as the spool has it; a usage error if ``word`` cannot be one."""
    wanted = word.upper()
    if not is_queue_id(wanted):
        raise click.UsageError(f"{word!r} is not a queue id.")
    return wanted


def _ids_on_stdin() -> Iterator[str]:
    """Read the first word of each line, so that listings can be piped in as they are."""
    for number, line in enumerate(sys.stdin, 1):
        words = line.split()
        if not words or words[0] == "ID":  # an empty line, or the head of a listing
            continue
        wanted = words[0].rstrip(_MARKS).upper()
        if not is_queue_id(wanted):
            raise Failure(
                Exit.DATA, f"standard input, line {number}: {words[0]!r} is not a queue id"
            )
        yield wanted
