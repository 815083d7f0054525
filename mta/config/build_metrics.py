"""Build the listener for monitors; without ``metrics.listen`` nothing of it is even imported."""

import time
from typing import TYPE_CHECKING, Any

from mta.config.settings import Settings
from mta.delivery.delivery import Delivery
from mta.inbound.listener import Inbound
from mta.log.mail_log import MailLog
from mta.queue.scheduler import Scheduler
from mta.spool.database import Database

if TYPE_CHECKING:
    from mta.metrics.watched import Watched


def metrics(
    reactor: Any,
    settings: Settings,
    log: MailLog,
    database: Database,
    inbound: Inbound,
    scheduler: Scheduler,
    delivery: Delivery,
) -> "Watched | None":
    """Return what counts, already hearing of all events; None where nobody wants it."""
    section = settings.metrics
    if section.listen is None:
        return None
    # Takes a tenth of a second and some megabytes
    from mta.metrics.watched import Live, Watched  # noqa: PLC0415

    live = Live(
        sessions=lambda: inbound.by_listener,
        active=lambda: scheduler.active,
        running=scheduler.under_way,
        idle=lambda: delivery.idle,
        closing=lambda: inbound.closing,
    )
    watched = Watched(reactor, database, live, _wall_ms, section.sample_every.total_seconds())
    log.also = watched.emit
    database.committed = watched.committed
    return watched


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
