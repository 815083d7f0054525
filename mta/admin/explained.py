"""Gathers all that ``mta explain`` tells: from the rehearsal, and then from the spool."""

from collections.abc import Iterator
from typing import Any

from mta.admin.asking import run
from mta.admin.budgets import Budgets
from mta.admin.exits import Failure
from mta.admin.invocation import Invocation
from mta.admin.obstacles import Aimed, Obstacle, obstacles
from mta.admin.rehearsing import Explanation, Question, Rehearsing
from mta.admin.render import moment
from mta.admin.shown_budgets import has_budgets
from mta.admin.sts_reading import Looking
from mta.config.build import visible_routes
from mta.config.build_addresses import addresses
from mta.spool import accounts
from mta.spool.errors import SpoolUnavailable, SpoolUnusable


def explained(invocation: Invocation, question: Question) -> tuple[Explanation, list[Obstacle]]:
    """Return what would become of a message, and what stands in its way beside that.

    ``ValueError`` if there is no such listener.
    """
    settings = invocation.settings
    tables, looking = addresses(settings), Looking(invocation)
    rehearsing = Rehearsing(settings, tables, question, invocation.now_ms(), looking)
    recipients = run(rehearsing.go)
    found = rehearsing.found
    wanted = [one.address for one in recipients] or [question.address]
    aimed = [
        Aimed(walked.site, walked.road.route.name, one.domain, walked.from_sources)
        for walked in found.walked
        for one in walked.road.recipients
    ]
    when = (invocation.now_ms(), invocation.zone)
    try:
        with invocation.reading() as conn:
            known = obstacles(conn, wanted, question.login, aimed, when)
            known += _logins(conn, question.login)
            return found, [*known, *_budgets(invocation, conn, found)]
    except (Failure, SpoolUnavailable, SpoolUnusable) as error:
        return found, [Obstacle("spool", f"the spool cannot be asked: {error}")]


def _logins(conn: Any, login: str) -> Iterator[Obstacle]:
    """Yield why nobody can log in as ``login``."""
    account = accounts.get(conn, login) if login else None
    if login and account is None:
        yield Obstacle("login", f"there is no account {login}: AUTH is answered 535", refuses=True)
    elif account is not None and account.disabled:
        text = f"the account {login} is disabled, AUTH is answered 535: mta account enable {login}"
        yield Obstacle("login", text, refuses=True)


def _budgets(invocation: Invocation, conn: Any, found: Explanation) -> Iterator[Obstacle]:
    """Yield what is left of the budgets of the smarthosts that it would go to."""
    if not has_budgets(invocation.settings):
        return
    now_ms = invocation.now_ms()
    budgets = Budgets(visible_routes(invocation.settings), conn, now_ms)
    for destination in dict.fromkeys(walked.destination for walked in found.walked):
        waits = budgets.wait(destination)
        for one in budgets.of(destination):
            parts = [f"{one.per_second} a second"] if one.per_second else []
            if one.per_day:
                parts.append(f"{one.per_day} a day, {one.used} used, {one.left} left")
            if one.free_ms > now_ms:
                parts.append(f"free {moment(one.free_ms, invocation.zone)}")
            text = f"{destination}: {one.host}:{one.port}: {', '.join(parts)}"
            yield Obstacle("budget", text, blocks=waits is not None and one.free_ms > now_ms)
