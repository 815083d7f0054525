"""Verbs that change the queue: counted, asked about, done in small steps, written down.

Each works on recipients, in the transactions of ``mta.spool.operate``, which also write
the audit rows and wake a running service.  A message with an attempt under way is
changed too; what that attempt brings is settled by the spool's rules.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import click

from mta.admin.exits import Exit
from mta.admin.filters import Chosen, filters
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.pace import Pace
from mta.admin.processes import works
from mta.admin.render import note, progress, say
from mta.spool import leases, listing, operate
from mta.spool.errors import SpoolFull, SpoolUnavailable
from mta.spool.filters import Filter
from mta.spool.schema import WAITING, State

Step: TypeAlias = Callable[[Any, Filter, int, str, int], int]
"""A function of ``mta.spool.operate``: connection, filter, now in ms, who, at most so many."""
Parts: TypeAlias = Callable[[Any, Filter, Callable[[], int]], Iterator[Filter]]
"""Divides what a filter means; ``listing.slices``."""

_TRIES = 5  # of a step that the spool is too busy for
_AWAY_S = 1.0  # between two of them
_AHEAD_MS = 5_000  # the clocks of several hosts need not agree better
_HERE = 1  # ms: the age of what has arrived already


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: what it says, which states it applies to, and one step of it."""

    name: str
    done: str
    states: tuple[State, ...]
    step: Step
    explanation: str
    others: str = ""  # why it may have been fewer than were counted
    makes_mail: bool = False
    parts: Parts = listing.slices  # what is looked through in one transaction, where no id says it

    def narrowed(self, wanted: Filter) -> Filter | None:
        """Return ``wanted`` for the states that the verb applies to; None if it excludes them.

        Mail that arrives from now on is not meant: it must not keep us here for ever, and the
        reports that 'bounce' makes are not to be bounced.
        """
        if not wanted.ids:
            wanted = replace(wanted, min_age_ms=max(wanted.min_age_ms or _HERE, _HERE))
        if wanted.state is not None:
            return wanted if wanted.state in self.states else None
        if len(self.states) == 1:
            return replace(wanted, state=self.states[0])
        return wanted if self.states == WAITING else replace(wanted, among=self.states)


@dataclass(frozen=True, slots=True)
class Consent:
    """How sure the operator is."""

    everything: bool  # --all
    yes: bool
    dry_run: bool


HOLD = Verb(
    "hold",
    "held",
    (State.QUEUED,),
    operate.hold,
    "Keep recipients from being tried until they are released.",
)
RELEASE = Verb(
    "release",
    "released",
    (State.HELD,),
    operate.release,
    "Let held recipients be tried again, now.",
)
RETRY = Verb(
    "retry",
    "made due",
    (State.QUEUED,),
    operate.retry,
    "Try recipients now that wait for their next attempt.",
)
REMOVE = Verb(
    "remove",
    "removed",
    WAITING,
    operate.remove,
    "Drop recipients.  Nobody is told; see 'bounce'.",
)


def consent(command: Callable[..., Exit]) -> Callable[..., Exit]:
    """Add ``--all``, ``--yes`` and ``--dry-run``."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say how many it would be."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option(
            "--all", "everything", is_flag=True, help="Act without a filter: on the whole queue."
        ),
    ):
        command = option(command)
    return command


def carry_out(invocation: Invocation, verb: Verb, chosen: Chosen, sure: Consent) -> Exit:
    """Count, ask, act; return the status."""
    if chosen.everything and not sure.everything:
        raise click.UsageError(
            f"No filter: say --all to {verb.name} the whole queue, or say which recipients."
        )
    if sure.everything and not chosen.everything:
        raise click.UsageError("--all and filters exclude each other.")
    now_ms = invocation.now_ms()
    wanted = None if chosen.nothing else verb.narrowed(chosen.filter)
    number = 0
    if wanted is not None:
        with invocation.reading() as conn:
            wanted = _with_the_future(conn, verb, wanted, now_ms)
            number = listing.count(conn, wanted, now_ms)
    if wanted is None or not number:
        note(f"nothing to {verb.name}")
        return Exit.NOTHING
    if sure.dry_run:
        say(f"would {verb.name} {_recipients(number)}")
        return Exit.DONE
    if not sure.yes and not _agreed(invocation, verb, number):
        note("nothing changed")
        return Exit.NOTHING
    done = _in_steps(invocation, verb, wanted, now_ms, number)
    say(f"{verb.done} {_recipients(done)}")
    if verb.others and done < number:
        note(verb.others)
    return Exit.DONE if done else Exit.NOTHING


def _with_the_future(conn: Any, verb: Verb, wanted: Filter, now_ms: int) -> Filter:
    """Return ``wanted`` with mail that arrived in the future: before the clock was set back.

    Not for a verb that makes mail, which could not be told from it.
    """
    last = None if verb.makes_mail or wanted.min_age_ms != _HERE else listing.last(conn)
    if last is None or last[1] <= now_ms + _AHEAD_MS:
        return wanted
    return replace(wanted, min_age_ms=None, upto=last[0])


def _agreed(invocation: Invocation, verb: Verb, number: int) -> bool:
    if not invocation.interactive():
        raise click.UsageError(
            f"This would {verb.name} {_recipients(number)}: say --yes, for there is no terminal"
            " to ask on.  Nothing changed."
        )
    return click.confirm(f"{verb.name} {_recipients(number)}?", err=True)


def _in_steps(invocation: Invocation, verb: Verb, wanted: Filter, now_ms: int, number: int) -> int:
    """Act in transactions that are short by the clock, with rests, so that mail goes on."""
    pace, total = Pace(one_writer=invocation.one_writer, served=_served(invocation)), 0
    whole = iter((wanted,)) if wanted.ids else None
    parts = whole or verb.parts(invocation.reading, wanted, lambda: pace.size)
    with progress(verb.name, number) as advance:
        for part in parts:
            step = most = 1
            while step and (step >= most or verb.makes_mail):  # of those some may be passed over
                most = min(pace.size, operate.STEP) if whole else operate.STEP
                step = _one_step(invocation, verb, part, now_ms, most, pace)
                total += step
                advance(step)
    return total


def _served(invocation: Invocation) -> bool:
    """Tell whether a process is there that works on mail."""
    with invocation.reading() as conn:
        return any(works(one, invocation.now_ms()) for one in leases.everyone(conn))


def _one_step(
    invocation: Invocation, verb: Verb, part: Filter, now_ms: int, most: int, pace: Pace
) -> int:
    """Act in one transaction; let the others in if there are so many that it does not begin."""
    for failures in range(_TRIES):
        begin = entered = time.monotonic()
        try:
            with invocation.writing() as conn:
                entered = time.monotonic()
                step = verb.step(conn, part, now_ms, invocation.who(), most)
            invocation.pause(pace.rest_s(entered - begin, time.monotonic() - entered))
            return step
        except SpoolFull:
            raise
        except SpoolUnavailable:
            if failures == _TRIES - 1:
                raise
            invocation.pause(_AWAY_S)
    raise AssertionError


def _recipients(number: int) -> str:
    return f"{number} recipient{'' if number == 1 else 's'}"


def command_of(verb: Verb) -> click.Command:
    """Make the command of a verb that needs nothing but filters and consent."""

    @pass_invocation
    def run(
        invocation: Invocation, *, chosen: Chosen, everything: bool, yes: bool, dry_run: bool
    ) -> Exit:
        return carry_out(invocation, verb, chosen, Consent(everything, yes, dry_run))

    run.__doc__ = verb.explanation
    return click.command(verb.name, help=verb.explanation)(filters(consent(run)))
