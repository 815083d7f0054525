"""What is offered in the answer to EHLO (RFC 5321 §4.1.1.1)."""

from collections.abc import Iterator
from dataclasses import dataclass

from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import MECHANISMS


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the core needs to know."""

    host_name: str
    message_size: int = 50 * 1024 * 1024  # octets, as they are counted for SIZE
    recipients: int = 1000  # of one message, as they are announced with LIMITS (RFC 9422)
    starttls: bool = False  # there is a certificate
    auth: bool = False  # there are accounts
    errors: int = 20
    idle_commands: int = 100


def offer(settings: ServerSettings, *, secure: bool) -> Reply:
    """Return the answer to EHLO; it carries no enhanced code (RFC 2034 §4)."""
    return reply(250, "", settings.host_name, *_keywords(settings, secure=secure))


def _keywords(settings: ServerSettings, *, secure: bool) -> Iterator[str]:
    yield "PIPELINING"  # RFC 2920
    yield f"SIZE {settings.message_size}"  # RFC 1870
    yield "8BITMIME"  # RFC 6152
    yield "ENHANCEDSTATUSCODES"  # RFC 2034
    yield "CHUNKING"  # RFC 3030
    yield "BINARYMIME"  # RFC 3030 §3
    yield "SMTPUTF8"  # RFC 6531
    # RFC 9422: what is not limited here (MAILMAX, RCPTDOMAINMAX) is not named
    yield f"LIMITS RCPTMAX={settings.recipients}"
    if secure:
        yield "REQUIRETLS"  # RFC 8689 §2: only inside TLS
    if settings.starttls and not secure:
        yield "STARTTLS"  # RFC 3207 §4.2: not inside TLS
    if settings.auth and secure:
        yield "AUTH " + " ".join(MECHANISMS)  # RFC 4954 §4: only inside TLS
    yield "HELP"
