"""``mta config diff --against queue``: what a changed configuration would do to what waits.

The settings in force are those that the running service has written down at its start or at its
last reload.  Both are built into the very values that delivery works by, and asked about each
kind of mail: sender's and recipient's domain, a route that an operator chose, the host of the
last attempt.

Knowingly not compared: signatures (what waits was signed when it was accepted), what DNS says,
and files beside the configuration (alias files, keys, passwords), of which only the present state
is known.  Limits by mail exchangers are those of the host that was tried last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.config import Settings, load
from mta.spool import in_force
from mta.spool.in_force import InForce, Kind

_SAMPLES = 5
_DOMAINS = 3
_COLUMNS = (
    Column("RECIPIENTS", "right"),
    Column("WHAT", style="bold"),
    Column("NOW"),
    Column("THEN"),
    Column("DOMAINS"),
    Column("FOR EXAMPLE"),
)


@dataclass(slots=True)
class Change:
    """Mail to which the same would happen."""

    what: str  # "route", "sender", "source", "TLS", "shaping"
    now: str
    then: str
    recipients: int = 0
    domains: dict[str, None] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)

    def add(self, kind: Kind) -> None:
        """Count a kind of mail."""
        self.recipients += kind.recipients
        self.domains[kind.domain] = None
        if len(self.samples) < _SAMPLES:
            self.samples.append(kind.sample)


class Compared:
    """Two configurations, as delivery would see them."""

    def __init__(self, now: Settings, then: Settings) -> None:
        from mta.admin.standing_orders import Orders  # noqa: PLC0415 - the whole of delivery

        self._now, self._then = Orders(now), Orders(then)
        self.changes: dict[tuple[str, str, str], Change] = {}
        self.recipients = 0

    def add(self, kind: Kind) -> None:
        """Ask both about one kind of mail."""
        self.recipients += kind.recipients
        asked = (kind.sender_domain, kind.domain, kind.route, kind.host)
        now, then = self._now.about(*asked), self._then.about(*asked)
        for what, old in now.items():
            new = then[what]
            if old.value != new.value:
                key = (what, old.words, new.words)
                self.changes.setdefault(key, Change(*key)).add(kind)


def diff(invocation: Invocation, file: Any, as_json: bool) -> Exit:
    """Compare, tell, and return the status: 1 if anything would change."""
    then = invocation.settings if file is None else load(file, invocation.environ)
    with invocation.reading() as conn:
        running = in_force.everybodys(conn, invocation.now_ms())
        kinds = in_force.waiting(conn) if running else []
    if not running:
        text = "no service is running that has told what it works by: nothing to compare with"
        raise Failure(Exit.UNAVAILABLE, text)
    one, compared = _compared(invocation, running, then, kinds)
    changes = sorted(compared.changes.values(), key=lambda change: -change.recipients)
    if as_json:
        for record in _records(changes):
            json_line(record)
    else:
        _tell(invocation, one, compared, changes)
    for other in running[1:]:
        if other.text != one.text:
            note(f"{visible(other.node)} works by another configuration than {visible(one.node)}")
    if len(kinds) >= in_force.MOST:
        note(f"only the {in_force.MOST} most frequent kinds of mail were looked at")
    return Exit.NOTHING if changes else Exit.DONE


def _compared(
    invocation: Invocation, running: list[InForce], then: Settings, kinds: list[Kind]
) -> tuple[InForce, Compared]:
    from mta.config.running import from_text  # noqa: PLC0415

    one = running[0]
    now = from_text(one.text, invocation.environ.get("CREDENTIALS_DIRECTORY", ""))
    compared = Compared(now, then)
    for kind in kinds:
        compared.add(kind)
    return one, compared


def _tell(invocation: Invocation, one: InForce, compared: Compared, changes: list[Change]) -> None:
    since = moment(one.since_ms, invocation.zone)
    say(f"against what {visible(one.node)} works by since {since}: of {compared.recipients}")
    if not changes:
        say("recipients that wait none would be treated otherwise")
        return
    say("recipients that wait these would be treated otherwise:")
    table(_COLUMNS, (_row(change) for change in changes))
    say("(what waits was signed when it was accepted: signatures do not change)")


def _row(change: Change) -> tuple[str, ...]:
    domains = list(change.domains)
    more = f" and {len(domains) - _DOMAINS} more" if len(domains) > _DOMAINS else ""
    return (
        str(change.recipients),
        change.what,
        visible(change.now),
        visible(change.then),
        visible(", ".join(domains[:_DOMAINS])) + more,
        " ".join(change.samples[:2]),
    )


def _records(changes: list[Change]) -> Iterator[dict[str, Any]]:
    for change in changes:
        yield {
            "what": change.what,
            "now": change.now,
            "then": change.then,
            "recipients": change.recipients,
            "domains": len(change.domains),
            "some_domains": list(change.domains)[:_SAMPLES],
            "ids": change.samples,
        }
