"""Gathers all that ``mta explain`` tells: from the rehearsal, and then from the spool."""

from mta.admin.asking import run
from mta.admin.exits import Failure
from mta.admin.invocation import Invocation
from mta.admin.obstacles import Aimed, Obstacle, obstacles
from mta.admin.rehearsing import Explanation, Question, Rehearsing
from mta.admin.sts_reading import Looking
from mta.config.build_addresses import addresses
from mta.delivery.road import Road
from mta.spool.errors import SpoolUnavailable, SpoolUnusable


def explained(invocation: Invocation, question: Question) -> tuple[Explanation, list[Obstacle]]:
    """Return what would become of a message, and what stands in its way beside that."""
    settings = invocation.settings
    tables, looking = addresses(settings), Looking(invocation)
    rehearsing = Rehearsing(settings, tables, question, invocation.now_ms(), looking)
    recipients = rehearsing.accept()
    if recipients:
        rehearsing.sign()
        run(lambda reactor: rehearsing.walk(reactor, recipients))
    found = rehearsing.found
    wanted = [one.address for one in recipients] or [question.address]
    aimed = [
        Aimed(walked.site, walked.road.route.name, one.domain, _sources(walked.road))
        for walked in found.walked
        for one in walked.road.recipients
    ]
    when = (invocation.now_ms(), invocation.zone)
    try:
        with invocation.reading() as conn:
            return found, obstacles(conn, wanted, question.login, aimed, when)
    except (Failure, SpoolUnavailable, SpoolUnusable) as error:
        return found, [Obstacle("spool", f"the spool cannot be asked: {error}")]


def _sources(road: Road) -> tuple[str, ...]:
    return (*road.outgoing.ipv4, *road.outgoing.ipv6)
