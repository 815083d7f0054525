"""What a listener offers: the answer to EHLO (RFC 5321 §4.1.1.1), and STARTTLS."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from mta.smtp.commands import CommandError
from mta.smtp.mechanisms import PASSWORDS
from mta.smtp.replies import Reply, reply
from mta.smtp.requests import DSN_ONLY, Offer
from mta.smtp.xclient import XClient


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the core needs to know."""

    host_name: str
    message_size: int = 50 * 1024 * 1024  # octets, as they are counted for SIZE
    recipients: int = 1000  # of one message, as they are announced with LIMITS (RFC 9422)
    starttls: bool = False  # there is a certificate
    auth: bool = False  # there are accounts
    mechanisms: tuple[str, ...] = PASSWORDS  # of AUTH, where the connection has what they need
    errors: int = 20
    idle_commands: int = 100
    requests: Offer = DSN_ONLY  # DSN and its like
    xclient: tuple[str, ...] = ()  # attributes of XCLIENT; none: this client may not use it


def offer(settings: ServerSettings, mechanisms: Sequence[str], *, secure: bool) -> Reply:
    """Return the answer to EHLO; it carries no enhanced code (RFC 2034 §4).

    ``mechanisms`` of AUTH are those that can succeed on this connection.
    """
    return _offer(settings, tuple(mechanisms), secure)


# A listener has one or two answers, which all its clients get.
@lru_cache(maxsize=64)
def _offer(settings: ServerSettings, mechanisms: tuple[str, ...], secure: bool) -> Reply:
    return reply(250, "", settings.host_name, *_keywords(settings, mechanisms, secure=secure))


def _keywords(
    settings: ServerSettings, mechanisms: tuple[str, ...], *, secure: bool
) -> Iterator[str]:
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
    if mechanisms and secure:
        yield "AUTH " + " ".join(mechanisms)  # RFC 4954 §4: only inside TLS
    if settings.xclient:
        yield "XCLIENT " + " ".join(settings.xclient)
    yield from settings.requests.lines(auth=settings.auth and secure)
    yield "HELP"


def introduced(settings: ServerSettings, said: XClient) -> ServerSettings:
    """Return what is offered behind XCLIENT.

    Who was named there is not the proxy any more, and must not say that he is somebody else:
    there are proxies that hand on whatever their client says.
    """
    named = said.address is not None or said.login
    return replace(settings, xclient=()) if named else settings


def permit_starttls(settings: ServerSettings, *, secure: bool, extended: bool) -> None:
    """Raise ``CommandError`` where STARTTLS is not possible (RFC 3207 §4)."""
    if secure:
        raise CommandError(reply(503, "5.5.1", "TLS is on already"))
    if not settings.starttls:
        raise CommandError(reply(502, "5.5.1", "STARTTLS is not offered here"))
    if not extended:
        raise CommandError(reply(503, "5.5.1", "Send EHLO first"))
