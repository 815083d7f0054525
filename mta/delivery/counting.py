"""Tells of the TLS sessions with mail exchangers, for reports (RFC 8460).

A connection counts once for each domain that mail goes to on it.  What had nothing to do with TLS,
a connection that could not be made or a greeting that refuses, is no session there (§4.3.4).
"""

from collections.abc import Callable
from typing import TypeAlias

from mta.delivery.connection import Connection
from mta.delivery.trouble import Trouble
from mta.mail.security import Flaw, Requirement, Result, Skip
from mta.mail.tls_session import TlsSession
from mta.security.sessions import counts, failed, flaw_of, succeeded
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage

Count: TypeAlias = Callable[[TlsSession], None]


class Counting:
    """Tells of the sessions of one message to one domain."""

    def __init__(self, count: Count, domain: str) -> None:
        """``count`` hears of each."""
        self._count = count
        self._domain = domain

    def skipped(self, host: str, skip: Skip) -> None:
        """A host was not dialled."""
        if counts(skip):
            self._count(failed(skip, self._domain, host, Flaw(skip.result, skip.why)))

    def opened(self, required: Requirement, host: str, connection: Connection) -> None:
        """Mail goes to the domain on ``connection``."""
        if self._domain in connection.counted or not counts(required):
            return
        connection.counted |= {self._domain}
        flaw = flaw_of(required, connection.flaw)
        if flaw is None:
            self._count(succeeded(required, self._domain, host))
            return
        self._count(
            failed(
                required,
                self._domain,
                host,
                flaw,
                sending=connection.local,
                address=connection.address,
                helo=announced(connection.greeted),
            )
        )

    def failed(self, required: Requirement, host: str, address: str, trouble: Trouble) -> None:
        """No session came about."""
        result = trouble.result
        if result is None and trouble.command == Stage.STARTTLS.value:
            result = Result.VALIDATION_FAILURE
        if result is None or not counts(required):
            return
        flaw = Flaw(result, str(trouble))
        session = failed(
            required,
            self._domain,
            host,
            flaw,
            sending=trouble.local,
            address=address,
            helo=announced(trouble.greeted),
        )
        self._count(session)


def announced(greeting: Reply | None) -> str:
    """Return the name that a greeting begins with (RFC 5321 §4.2)."""
    words = greeting.text.split(maxsplit=1) if greeting is not None else ()
    return words[0] if words else ""
