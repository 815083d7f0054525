"""What DNS says of a recipient's domain, in a bounded time; what it does not say is UNKNOWN.

The resolver caches, and answers the delivery's own question afterwards from there.
"""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as LateError
from twisted.internet.interfaces import IReactorTime

from mta.dns.mx import MailExchangers, NoSuchDomain, NoUsableHost, NullMx
from mta.policy.recipients import Domain

PATIENCE_S = 3.0


async def ask(clock: IReactorTime, exchangers: MailExchangers, domain: str) -> Domain:
    """Ask about ``domain``."""
    hosts: Deferred[object] = exchangers.hosts(domain)  # type: ignore[assignment]
    try:
        await hosts.addTimeout(PATIENCE_S, clock)
    except LateError:
        return Domain.UNKNOWN
    except CancelledError:
        raise
    except NullMx:
        return Domain.NULL_MX
    except NoUsableHost:
        return Domain.UNKNOWN  # it exists; what becomes of its mail is for the delivery to say
    except NoSuchDomain:
        return Domain.MISSING
    except Exception:  # a temporary failure, a loop: the delivery finds out
        return Domain.UNKNOWN
    return Domain.TAKES_MAIL
