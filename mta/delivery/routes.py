"""Where mail goes: the first route that matches sender and recipient decides.

Routes are read at every attempt, so that a changed configuration moves mail that is queued
already.  A smarthost's password is in here and in no representation of it.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mta.delivery.outgoing import Outgoing
from mta.delivery.token import OAuth
from mta.mail.address import split
from mta.mail.site import by_mx
from mta.policy.matching import AddressPattern
from mta.policy.rewriting import Rewrites
from mta.tls.certificates import CertificateFiles

MxTls: TypeAlias = Literal["dane", "dane-only", "may", "none", "encrypt", "verify"]
OnUnknown: TypeAlias = Literal["retry", "hold", "delivered"]
SmarthostTls: TypeAlias = Literal["implicit", "starttls", "none"]


@dataclass(frozen=True, slots=True)
class Mx:
    """To the mail exchangers of the recipient's domain (RFC 5321 §5.1).

    ``tls``: "dane" keeps to what the domain publishes, and otherwise does as "may", which uses
    STARTTLS where it works and records how well; "encrypt" insists on TLS, whoever the peer is;
    "verify" insists on a certificate that verifies, "dane-only" on DANE.  What follows from it
    is ``mta.security``'s business.  With ``waivable`` a message that says ``TLS-Required: No``
    (RFC 8689 §3) is not insisted for.
    """

    port: int = 25
    tls: MxTls = "dane"
    waivable: bool = False


@dataclass(frozen=True, slots=True)
class Smarthost:
    """To one host that takes everything.  Its certificate must verify, unless tls is "none".

    ``identity`` is the certificate that we show there, if it asks for one.
    """

    host: str
    port: int
    tls: SmarthostTls = "implicit"
    login: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity: CertificateFiles | None = None
    preference: int = 0  # among several: the lowest first
    per_second: int = 0  # messages; 0: any number
    per_day: int = 0
    mechanisms: tuple[str, ...] = ()  # of AUTH that are permitted; none given: all that we have
    oauth: OAuth | None = None  # where tokens come from; None: by password

    def __post_init__(self) -> None:
        """Refuse to send a password in the clear (RFC 4954 §9)."""
        if self.login and self.tls == "none":
            raise ValueError(f"{self.host}: credentials are not sent without TLS")


@dataclass(frozen=True, slots=True)
class Smarthosts:
    """To one of several, or to one with a budget (``mta.delivery.smarthosts``)."""

    route: str  # whose they are
    hosts: tuple[Smarthost, ...]


@dataclass(frozen=True, slots=True)
class Lmtp(Smarthost):
    """To what keeps the mailboxes, by LMTP (RFC 2033): a smarthost after which nobody comes.

    ``host`` is a name, an address, or the path of a unix socket, where ``port`` is 0.
    """

    tls: SmarthostTls = "none"


@dataclass(frozen=True, slots=True)
class Maildir:
    """Into a Maildir of each recipient's.

    ``path`` is absolute, with ``{domain}`` and ``{local}``; ``create``: what is missing is made;
    ``delimiter``: the local part ends before it.
    """

    path: str
    create: bool = False
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class Discard:
    """Nowhere, as if delivered."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Back to the sender."""

    code: int = 550
    enhanced: str = "5.7.1"
    text: str = "Mail to this address is not accepted here"


@dataclass(frozen=True, slots=True)
class Missing:
    """Nowhere for now: an operator chose a route that the configuration does not have."""


Target: TypeAlias = Mx | Smarthost | Smarthosts | Maildir | Discard | Refuse | Missing


@dataclass(frozen=True, slots=True)
class Route:
    """A rule.  Patterns: "example.org" is that domain, ".example.org" and "*.example.org" are
    the names below it, "*" is any, "<>" the null sender.  None given: any, the null sender too.
    """

    name: str
    target: Target
    recipient_domains: tuple[str, ...] = ()
    sender_domains: tuple[str, ...] = ()
    rewrite_sender: Rewrites | None = None  # envelope senders, on the way out
    verp: str = ""  # the two delimiters, such as "+="; "": no VERP
    verp_senders: tuple[AddressPattern, ...] = ()  # only theirs; none: all
    outgoing: Outgoing | None = None  # as whom we go out; None: as on all routes
    on_unknown: OnUnknown = "retry"  # where the line is lost after the final dot

    def matches(self, sender_domain: str, domain: str) -> bool:
        """Tell whether mail between the domains is meant; the null sender's is ""."""
        return _any_matches(self.recipient_domains, domain) and _any_matches(
            self.sender_domains, sender_domain
        )

    def unlike(self, sender_domain: str, domain: str) -> str:
        """Return in words why mail between the domains is not meant; "" if it is."""
        if not _any_matches(self.recipient_domains, domain):
            return f"{domain} is none of its recipient_domains: {', '.join(self.recipient_domains)}"
        if not _any_matches(self.sender_domains, sender_domain):
            of = sender_domain or "<>"
            return f"{of} is none of its sender_domains: {', '.join(self.sender_domains)}"
        return ""


def _any_matches(patterns: tuple[str, ...], domain: str) -> bool:
    return not patterns or any(_matches(pattern, domain) for pattern in patterns)


def _matches(pattern: str, domain: str) -> bool:
    if pattern == "*":
        return True
    if pattern == "<>":
        return not domain
    pattern = pattern.lower().removeprefix("*")
    return domain.endswith(pattern) if pattern.startswith(".") else domain == pattern


DEFAULT_ROUTE = Route("default", Mx())

_REMEMBERED = 1024  # pairs of domains whose route is known


class Routes:
    """All routes in their order; what none of them matches goes to its mail exchangers."""

    def __init__(self, routes: tuple[Route, ...] = ()) -> None:
        self._routes = routes
        self._found: dict[tuple[str, str], Route] = {}  # by sender's domain and recipient's

    @property
    def targets(self) -> list[Target]:
        """Where they lead."""
        return [route.target for route in self._routes]

    @property
    def outgoings(self) -> list[Outgoing]:
        """As whom they go out, where they say it themselves."""
        return [route.outgoing for route in self._routes if route.outgoing is not None]

    def named(self, name: str) -> Route:
        """Return the route with this name, or one that leads nowhere."""
        for route in (*self._routes, DEFAULT_ROUTE):
            if route.name == name:
                return route
        return Route(name, Missing())

    def choose(self, sender: str, domain: str, chosen: str = "") -> Route:
        """Return the route of mail from the address ``sender`` to ``domain``.

        ``chosen`` is the name of the one that an operator wants instead.
        """
        if chosen:
            return self.named(chosen)
        if not self._routes:
            return DEFAULT_ROUTE
        pair = split(sender)[1].lower(), domain
        found = self._found.get(pair)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[pair] = self._first(*pair)
        return found

    def _first(self, sender_domain: str, domain: str) -> Route:
        for route in self._routes:
            if route.matches(sender_domain, domain):
                return route
        return DEFAULT_ROUTE

    def passed_over(self, sender: str, domain: str) -> list[tuple[Route, str]]:
        """Return the routes before the one that ``choose`` takes, each with why it is not meant."""
        sender_domain = split(sender)[1].lower()
        found: list[tuple[Route, str]] = []
        for route in self._routes:
            why = route.unlike(sender_domain, domain)
            if not why:
                break
            found.append((route, why))
        return found

    def destination(self, sender: str, domain: str, chosen: str = "") -> str:
        """Return the key under which the queue gathers such mail: what one session can serve."""
        return destination_of(self.choose(sender, domain, chosen), domain)


def destination_of(route: Route, domain: str) -> str:
    """Return the key of the destination to which ``route`` leads mail for ``domain``."""
    match route.target:
        case Mx(port=port):
            return by_mx(domain, port)
        case Lmtp(host, port):
            return f"lmtp:{host}:{port}" if port else f"lmtp:{host}"
        case Smarthosts():
            return f"smarthost:{route.name}"
        case target:
            return f"{type(target).__name__.lower()}:{route.name}"
