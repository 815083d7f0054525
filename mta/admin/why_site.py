"""``mta why SITE``: how a provider's hosts, or a route's smarthosts, are, and what waits for them.

A site is named as the log and ``trace`` name it.  Running processes say every ten seconds how
theirs are; which mail waits is known since it was last tried there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from mta.admin.queue_sites import site_record
from mta.admin.render import Column, say, span, table, visible
from mta.admin.shown_budgets import draw, record
from mta.admin.shown_restraints import record as restraint_record
from mta.admin.surroundings import Surroundings, slow
from mta.mail.queue_id import time_of
from mta.mail.restraint import Marks
from mta.spool import standing
from mta.spool.site_states import SiteState
from mta.spool.standing import AtSite, Lately

_MOST = 20  # domains
_COLUMNS = (
    Column("DOMAIN", style="cyan"),
    Column("RECIPIENTS", "right"),
    Column("OLDEST", "right"),
    Column("NEXT", "right"),
)


@dataclass(frozen=True, slots=True)
class AboutSite:
    """What is known of one."""

    name: str
    mail: Marks
    waiting: Sequence[AtSite]
    states: Sequence[tuple[str, SiteState]]
    budgets: Sequence[dict[str, Any]]
    lately: Lately

    @property
    def known(self) -> bool:
        """Whether that is anything."""
        return bool(self.waiting or self.states or self.budgets or self.lately.verdicts)

    @property
    def is_domain(self) -> bool:
        """Whether it is a domain by itself, about which all that is known is said anyway."""
        alone = [one.domain for one in self.waiting] == [self.name]
        return alone and not (self.states or self.budgets)


def about_site(conn: Any, name: str, around: Surroundings) -> AboutSite:
    """Return what is known of the site ``name``."""
    mail = Marks(site=name)
    kind, _, route = name.partition(":")
    if kind == "smarthost":
        mail = Marks(route=route, site_key=name, site=name)
    budgets = [] if around.budgets is None else around.budgets.of(name)
    return AboutSite(
        name,
        mail,
        standing.at_site(conn, name, _MOST),
        around.at_site(mail),
        [record(name, one) for one in budgets],
        standing.lately_at_site(conn, name),
    )


def tell_site(site: AboutSite, around: Surroundings) -> None:
    """Write it."""
    say(f"site {visible(site.name)}: {_waiting(site)}")
    if around.no_service is not None:
        say(f"why:   {around.no_service[0]}")
    for one in around.concerning(site.mail, "suspend"):
        say(f"why:   {visible(one.words)}")
        say(f"do:    mta {'throttle revoke' if one.cause else 'resume'} {one.id}")
    if (budget := around.budget(site.mail)) is not None:
        say(f"why:   {budget.text}")
    for text, command in slow(site.mail, around):
        say(f"slow:  {text}")
        say(f"do:    {command}")
    for node, state in site.states:
        say(f"at {visible(node)}: {_state(state, around)}")
    if site.waiting:
        table(_COLUMNS, [_cells(one, around) for one in site.waiting])
        say(f"what was said: mta why {quote(visible(site.waiting[0].domain))}")
    if site.lately.verdicts:
        many = ", ".join(f"{number} {verdict}" for verdict, number in site.lately.verdicts.items())
        say(f"attempts of late: {many}, the last {around.at(site.lately.last_ms or 0)}")
        say(f"the newest message: mta why {site.lately.last}")
    if site.budgets:
        draw(site.budgets, around.now_ms)


def _waiting(site: AboutSite) -> str:
    if not site.waiting:
        return "nothing that was tried there waits"
    number = sum(one.recipients for one in site.waiting)
    many = f"{len(site.waiting)} domain{'' if len(site.waiting) == 1 else 's'}"
    return f"{_recipients(number)} of {many} wait since they were tried there"


def _state(one: SiteState, around: Surroundings) -> str:
    words = (
        f"{one.running} of {one.window} deliveries under way, {_recipients(one.waiting)} in memory"
        f" wait, {one.per_minute:g} deliveries a minute"
    )
    if one.until_ms is not None and one.until_ms > around.now_ms:
        words += f"; nothing is begun until {around.at(one.until_ms)}"
    why = " ".join(one.reason.split())
    return visible(f"{words}: {why}" if why else words)


def _recipients(number: int) -> str:
    return f"{number} recipient{'' if number == 1 else 's'}"


def _cells(one: AtSite, around: Surroundings) -> tuple[str, ...]:
    left_ms = one.next_attempt_ms - around.now_ms
    return (
        visible(one.domain),
        str(one.recipients),
        span(around.now_ms - time_of(one.oldest)),
        span(left_ms) if left_ms > 0 else "now",
    )


def site_records(site: AboutSite, around: Surroundings) -> dict[str, Any]:
    """Make the answer for programs."""
    return {
        "site": [
            {
                "domain": one.domain,
                "recipients": one.recipients,
                "oldest_ms": time_of(one.oldest),
                "next_attempt_ms": one.next_attempt_ms,
            }
            for one in site.waiting
        ],
        "states": [site_record(node, one) for node, one in site.states],
        "budgets": list(site.budgets),
        "attempts_of_late": site.lately.verdicts,
        "restraints": [
            restraint_record(one) for one in around.restraints if one.concerns(site.mail)
        ],
    }
