"""``mta why SITE``: for which domains mail waits since it was tried at a provider's hosts.

A site is named as the log and ``trace`` name it.  What is not known here is what a running service
has in memory of it, its window and whether it is left alone: ``mta top`` shows that.
"""

from collections.abc import Sequence
from shlex import quote
from typing import Any

from mta.admin.reasons import Surroundings
from mta.admin.render import Column, say, span, table, visible
from mta.mail.queue_id import time_of
from mta.spool.standing import AtSite

MOST = 20  # domains
_COLUMNS = (
    Column("DOMAIN", style="cyan"),
    Column("RECIPIENTS", "right"),
    Column("OLDEST", "right"),
    Column("NEXT", "right"),
)


def tell_site(site: str, found: Sequence[AtSite], around: Surroundings) -> None:
    """Write what waits since it was tried at ``site``."""
    number = sum(one.recipients for one in found)
    many = f"{len(found)} domain{'' if len(found) == 1 else 's'}"
    say(f"site {visible(site)}: {number} recipients of {many} wait since they were tried there")
    rows = [
        (
            visible(one.domain),
            str(one.recipients),
            span(around.now_ms - time_of(one.oldest)),
            span(one.next_attempt_ms - around.now_ms)
            if one.next_attempt_ms > around.now_ms
            else "now",
        )
        for one in found
    ]
    table(_COLUMNS, rows)
    say(f"what was said: mta why {quote(visible(found[0].domain))}")
    say("its window, and whether it is left alone: mta top")


def site_records(found: Sequence[AtSite]) -> list[dict[str, Any]]:
    """Make the answer for programs."""
    return [
        {
            "domain": one.domain,
            "recipients": one.recipients,
            "oldest_ms": time_of(one.oldest),
            "next_attempt_ms": one.next_attempt_ms,
        }
        for one in found
    ]
