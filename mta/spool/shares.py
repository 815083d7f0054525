"""What each process may have of a site's limits: a provider counts all of them together.

Once a second, and at once where something is missing, each process says how many connections to a
site it has and would like, and how many deliveries it would like to begin; here it is told how many
of each it may.  All that are allowed together never are more than the limit:

* **Connections.**  What others hold is theirs until they say that they hold less, or have said
  nothing for ``BELIEVED_MS``.  Who holds more than its part hears so and lets go as deliveries end.
* **Rates.**  Beginnings are allowed for one second of the clock that all share, and counted in
  slots (a second, or a sixtieth of the rate's length); of what is not used the process says so, and
  it is taken off again.  A rate of a minute or more holds in every stretch of its length, to a
  sixtieth.

A part is what fairness gives (max-min: nobody gets more than it wants as long as another wants
more than it gets); what does not divide goes round.

On PostgreSQL one process at a time does this, by an advisory lock that nobody waits for: a host
that is cut off while it has the lock must not keep the writers of the others.

Trusts what processes say they have, and that their clocks agree (``clock``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, select, text

from mta.spool.engine import is_sqlite
from mta.spool.share_tables import site_paces, site_shares

BELIEVED_MS = 10_000
_WANTED_MS = 2_500  # who has not asked for so long does not want to begin anything
_ROUND_MS = 10_000  # how long a connection that cannot be divided stays where it is
_SLOTS = 60
_KEPT_MS = 60_000
_LOCK = text("SELECT pg_try_advisory_xact_lock(7210425)")

Rate = tuple[int, int]
"""So many, in so many seconds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one process has, and would like, of one site."""

    site: str
    ahead: bool  # it is the next second's beginnings that are asked for, else this one's
    limit: int | None = None  # connections; None: there is no limit
    held: int = 0  # connections that it has, or may open before it hears the answer
    running: int = 0
    wanted: int = 0
    rates: tuple[Rate, ...] = ()
    begins: int = 0  # deliveries that it would like to begin in a second
    unused: tuple[tuple[int, int, int], ...] = ()  # seconds of the rate, the second, how many


@dataclass(frozen=True, slots=True)
class Share:
    """What it may."""

    connections: int
    held: int  # what others believe that it has
    begins: int  # in the second that was asked for, beyond what it was told before


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process has, as the tables have it."""

    connections: int = 0
    wanted: int = 0
    begins: int = 0
    second: int = 0
    allowed: int = 0


def exchange(
    conn: Connection, token: str, asks: Sequence[Ask], now_ms: int
) -> dict[str, Share] | None:
    """Say what we have and would like; return what we may, by site.

    None: another process is at it, ask again.
    """
    if not is_sqlite(conn) and not conn.execute(_LOCK).scalar():
        return None
    parts = _parts(conn, [ask.site for ask in asks], now_ms)
    found = {}
    for ask in asks:
        others = parts[ask.site]
        mine = others.pop(token, _Part())
        connections = _connections(ask, token, others, now_ms)
        held = max(ask.held, ask.running, connections)
        second = now_ms // 1000 + ask.ahead
        already = mine.allowed if mine.second == second else 0
        begins = _begins(conn, ask, token, others, second, already)
        found[ask.site] = Share(connections, held, begins)
        part = _Part(held, ask.wanted, ask.begins, second, already + begins)
        _say(conn, ask.site, token, part, now_ms)
    return found


def leave(conn: Connection, token: str) -> None:
    """Give back all connections of the run ``token``."""
    conn.execute(delete(site_shares).where(site_shares.c.token == token))


def purge(conn: Connection, now_ms: int) -> None:
    """Forget what nobody counts any more."""
    conn.execute(delete(site_shares).where(site_shares.c.seen_ms < now_ms - _KEPT_MS))
    conn.execute(delete(site_paces).where(site_paces.c.keep_until_ms < now_ms))


def fair(limit: int, wants: Mapping[str, int], turn: int) -> dict[str, int]:
    """Divide ``limit``: max-min fair; what is left beyond all wants is divided as well.

    What does not divide goes to one after the other, as ``turn`` counts.
    """
    parts = dict.fromkeys(wants, 0)
    left, open_ = limit, sorted(wants)
    while open_ and left:
        part = left // len(open_)
        done = [name for name in open_ if wants[name] <= part]
        if not done:
            for index, name in enumerate(open_):
                rank = (index + turn) % len(open_)
                parts[name] = part + (rank < left % len(open_))
            return parts
        for name in done:
            parts[name] = wants[name]
            left -= wants[name]
        open_ = [name for name in open_ if name not in done]
    for name in parts:
        parts[name] += left // len(parts)
    return parts


def slot_s(seconds: int) -> int:
    """Return how long the slots are in which a rate of ``seconds`` is counted."""
    return max(1, seconds // _SLOTS)


def _parts(conn: Connection, names: Iterable[str], now_ms: int) -> dict[str, dict[str, _Part]]:
    columns = site_shares.c
    query = select(site_shares).where(
        columns.site.in_(list(names)), columns.seen_ms >= now_ms - BELIEVED_MS
    )
    found: dict[str, dict[str, _Part]] = defaultdict(dict)
    for row in conn.execute(query):
        begins = row.begins if row.seen_ms >= now_ms - _WANTED_MS else 0
        found[row.site][row.token] = _Part(
            row.connections, row.wanted, begins, row.second, row.allowed
        )
    return found


def _connections(ask: Ask, token: str, others: Mapping[str, _Part], now_ms: int) -> int:
    if ask.limit is None or not ask.wanted:
        return 0
    free = ask.limit - sum(one.connections for one in others.values())
    wants = {name: one.wanted for name, one in others.items()} | {token: ask.wanted}
    part = fair(ask.limit, wants, now_ms // _ROUND_MS)[token]
    return max(min(part, free), 0)


def _begins(
    conn: Connection, ask: Ask, token: str, others: Mapping[str, _Part], second: int, already: int
) -> int:
    """Allow what we may begin in ``second``, and count it; the strictest of the rates decides."""
    for seconds, unused_second, count in ask.unused:
        _count(conn, ask.site, seconds, unused_second, -count)
    wants = {name: one.begins for name, one in others.items() if one.begins}
    wants[token] = ask.begins + already
    theirs = sum(one.allowed for one in others.values() if one.second == second)
    part = ask.begins if ask.rates else 0
    for number, seconds in ask.rates:
        free = number - _sent(conn, ask.site, seconds, second)
        fair_part = fair(max(0, free + theirs + already), wants, second)[token]
        part = min(part, free, fair_part - already)
    if part <= 0:
        return 0
    for _, seconds in ask.rates:
        _count(conn, ask.site, seconds, second, part)
    return part


def _sent(conn: Connection, site: str, seconds: int, second: int) -> int:
    """Return how many were allowed in the stretch of ``seconds`` that ends with ``second``.

    Of longer rates one slot more: what was allowed may have been begun late in its slot.
    """
    long = slot_s(seconds)
    last = second // long
    first = last - seconds // long + (1 if seconds < _SLOTS else 0)
    sql = (
        "SELECT coalesce(sum(count), 0) FROM site_paces"
        " WHERE site = :site AND seconds = :seconds AND slot BETWEEN :first AND :last"
    )
    values = {"site": site, "seconds": seconds, "first": first, "last": last}
    return int(conn.execute(text(sql), values).scalar_one())


def _count(conn: Connection, site: str, seconds: int, second: int, count: int) -> None:
    long = slot_s(seconds)
    values = {
        "site": site,
        "seconds": seconds,
        "slot": second // long,
        "count": count,
        "keep": (second + seconds + 2 * long) * 1000,
    }
    sql = (
        "INSERT INTO site_paces (site, seconds, slot, count, keep_until_ms)"
        " VALUES (:site, :seconds, :slot, :count, :keep)"
        " ON CONFLICT (site, seconds, slot) DO UPDATE SET count = site_paces.count + excluded.count"
    )
    conn.execute(text(sql), values)


def _say(conn: Connection, site: str, token: str, part: _Part, now_ms: int) -> None:
    values = asdict(part) | {"site": site, "token": token, "now": now_ms}
    sql = (
        "INSERT INTO site_shares"
        " (site, token, connections, wanted, begins, second, allowed, seen_ms)"
        " VALUES (:site, :token, :connections, :wanted, :begins, :second, :allowed, :now)"
        " ON CONFLICT (site, token) DO UPDATE SET connections = excluded.connections,"
        " wanted = excluded.wanted, begins = excluded.begins, second = excluded.second,"
        " allowed = excluded.allowed, seen_ms = excluded.seen_ms"
    )
    conn.execute(text(sql), values)
