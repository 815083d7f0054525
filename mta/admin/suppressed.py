"""What ``mta why`` says of addresses and domains that are on the suppression list."""

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from mta.admin.render import span
from mta.admin.render import visible as v
from mta.spool import suppressions
from mta.spool.suppressions import Suppression


def suppressed(conn: Any, what: str) -> list[Suppression]:
    """Return the entries about an address, or about a domain (``@example.net``)."""
    try:
        address = suppressions.prepared(what)
    except ValueError:
        return []
    domain = "@" + address.rpartition("@")[2]
    names = dict.fromkeys((address, domain))
    return [one for name in names for one in suppressions.everything(conn, name)]


def lines(found: Sequence[Suppression], now_ms: int) -> Iterator[str]:
    """Yield what that means, and the commands that end it."""
    for one in found:
        whose = f" for login {v(one.login)}" if one.login else ""
        why = f": {v(one.reason)}" if one.reason else ""
        ago = span(now_ms - one.created_ms)
        yield f"{v(one.address)} is suppressed{whose} by {v(one.who)}, {ago} ago{why}"
        yield "    why:     whoever sends there is refused at RCPT: 550 5.7.1"
        login = f" --login {quote(v(one.login))}" if one.login else ""
        yield f"    do:      mta suppress remove {quote(v(one.address))}{login}"


def records(found: Sequence[Suppression]) -> list[dict[str, Any]]:
    """Make the answer for programs."""
    return [
        {
            "address": one.address,
            "login": one.login,
            "reason": one.reason,
            "who": one.who,
            "created_ms": one.created_ms,
        }
        for one in found
    ]
