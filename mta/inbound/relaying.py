"""Who may send mail through us, and to whom: a pure decision.

An organisation's relay serves those who have authenticated and those in its trusted
networks; for everybody else it is no relay.  The text for the client is the same whatever
the reason is, the reason goes to the log.
"""

from mta.inbound.settings import AuthMode, ListenerSettings, TlsMode
from mta.smtp.replies import Reply, reply

AUTHENTICATE = reply(530, "5.7.0", "Authentication required")
STARTTLS_FIRST = reply(530, "5.7.0", "Send STARTTLS first, then authenticate")  # RFC 3207 §4
RELAYING_DENIED = reply(550, "5.7.1", "Relaying is not permitted from here")


def may_begin(listener: ListenerSettings, *, login: str, secure: bool) -> Reply | None:
    """Return the refusal of MAIL, or None."""
    if listener.auth is not AuthMode.REQUIRED or login:
        return None
    if listener.tls is TlsMode.STARTTLS and not secure:
        return STARTTLS_FIRST
    return AUTHENTICATE


def may_relay(
    listener: ListenerSettings, *, login: str, trusted: bool, secure: bool
) -> Reply | None:
    """Return the refusal of a recipient, or None."""
    if login or trusted:
        return None
    if listener.auth is AuthMode.OPTIONAL and secure:
        return AUTHENTICATE
    return RELAYING_DENIED


def is_bare_postmaster(address: str) -> bool:
    """Tell whether a recipient is ``<postmaster>``, without a domain (RFC 5321 §4.5.1)."""
    return address.lower() == "postmaster"
