"""What a client asks for with MAIL beside delivery: granted, cut down, or refused.  Pure.

A hold (RFC 4865) is for who has logged in.  A priority above normal is as well: from anybody
else it is cut down to normal, and the client is told so (RFC 6710 §4.1).  What cannot be
kept is refused here, where the client still has the message.
"""

from mta.inbound.settings import RequestSettings
from mta.mail.envelope import NOTHING, Asked, DeliverBy
from mta.smtp.replies import Reply, reply
from mta.smtp.requests import Wanted

LOG_IN_TO_HOLD = reply(530, "5.7.0", "Authentication required: only then is mail held")
HOLD_IS_OVER = reply(501, "5.5.4", "HOLDUNTIL is a moment in the past")
BY_BEFORE_RELEASE = reply(501, "5.5.4", "BY ends before the message is released")


def grant(
    wanted: Wanted | None, settings: RequestSettings, *, login: str, now_ms: int
) -> Asked | Reply:
    """Return what is kept of ``wanted``, or the refusal of MAIL."""
    if wanted is None:
        return NOTHING
    release_ms = _release_ms(wanted, settings, login, now_ms)
    if isinstance(release_ms, Reply):
        return release_ms
    by = None
    if wanted.by_s is not None:
        least_s = settings.deliver_by_s or 0
        if wanted.by_mode == "R" and wanted.by_s < least_s:
            return reply(555, "5.4.7", f"Cannot promise delivery in less than {least_s} seconds")
        by = DeliverBy(now_ms + wanted.by_s * 1000, wanted.by_mode, wanted.by_trace)
        if release_ms is not None and by.deadline_ms <= release_ms:  # RFC 4865 §5.2.2
            return BY_BEFORE_RELEASE
    priority = _priority(wanted, settings, login)
    return Asked(wanted.ret, wanted.envid, release_ms, priority, by, wanted.hold)


def _release_ms(
    wanted: Wanted, settings: RequestSettings, login: str, now_ms: int
) -> int | Reply | None:
    if wanted.hold_s is None and wanted.hold_until_ms is None:
        return None
    if not login:
        return LOG_IN_TO_HOLD
    release_ms = wanted.hold_until_ms
    if release_ms is None:
        release_ms = now_ms + (wanted.hold_s or 0) * 1000
    if release_ms <= now_ms:
        return HOLD_IS_OVER
    if release_ms > now_ms + settings.future_release_s * 1000:
        return reply(501, "5.5.4", f"Mail is held {settings.future_release_s} seconds at most")
    return release_ms


def _priority(wanted: Wanted, settings: RequestSettings, login: str) -> int:
    highest = settings.priority or 0
    return min(wanted.priority or 0, highest if login else min(highest, 0))


def highest(wanted: Wanted | None, settings: RequestSettings, *, login: str) -> int | None:
    """Return what an MT-Priority field may say at most; None: it is not believed (RFC 6758 §4)."""
    said = wanted is not None and wanted.priority is not None
    return settings.priority if login and not said else None


def accepted(wanted: Wanted | None, asked: Asked, ok: Reply) -> Reply:
    """Return the answer to MAIL: ``ok``, or that the priority is another one (RFC 6710 §4.1)."""
    if wanted is None or wanted.priority is None or wanted.priority == asked.priority:
        return ok
    return reply(250, "2.3.6", f"{asked.priority} is the priority that you have here")


def expires_ms(asked: Asked, created_ms: int, expiry_ms: int) -> int:
    """Return when a message is given up.

    A hold comes before the clock of the expiry (RFC 4865); a deadline may end it sooner.
    """
    at_ms = (asked.release_ms or created_ms) + expiry_ms
    by = asked.deliver_by
    return min(at_ms, by.deadline_ms) if by and by.mode == "R" else at_ms
