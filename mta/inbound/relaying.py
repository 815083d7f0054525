"""Who may send mail through us, and to whom: a pure decision.

An organisation's relay serves those who have authenticated and those in its trusted
networks; for everybody else it is no relay.  The text for the client is the same whatever
the reason is, the reason goes to the log.
"""

from mta.inbound.settings import AuthMode, InboundSettings, ListenerSettings, TlsMode
from mta.mail.address import domain_of
from mta.smtp.replies import Reply, reply

AUTHENTICATE = reply(530, "5.7.0", "Authentication required")
STARTTLS_FIRST = reply(530, "5.7.0", "Send STARTTLS first, then authenticate")  # RFC 3207 §4
RELAYING_DENIED = reply(550, "5.7.1", "Relaying is not permitted from here")

# RFC 6409 §4.2
UNQUALIFIED = reply(554, "5.1.2", "The domain of the recipient is not fully qualified")
SENDER_UNQUALIFIED = reply(554, "5.1.8", "The domain of the sender is not fully qualified")


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


def unqualified(address: str, settings: InboundSettings, refusal: Reply) -> Reply | None:
    """Return ``refusal`` for an address of new mail in a domain of one label that is not ours."""
    domain = domain_of(address)
    if not domain or "." in domain or domain.startswith("[") or not settings.submission.qualified:
        return None
    ours = settings.addresses is not None and settings.addresses.local.ours(domain)
    return None if ours else refusal


def is_bare_postmaster(address: str) -> bool:
    """Tell whether a recipient is ``<postmaster>``, without a domain (RFC 5321 §4.5.1)."""
    return address.lower() == "postmaster"
