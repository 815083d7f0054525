"""Command lines to values (RFC 5321 §4.1.1, and the parameters of the extensions).

A line has already been found to be printable when it comes here, so that nothing that is parsed
can hold CR, LF, NUL or another control character; beyond ASCII are at most addresses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from mta.mail.address import domain_of
from mta.smtp import grammar, requests
from mta.smtp.content import too_big
from mta.smtp.replies import Reply, reply

T = TypeVar("T", "Mail", "Rcpt")

MAX_PARAMETERS = 16
MAX_HELLO_NAME = 255


Offered = Callable[[], frozenset[str]]  # the extensions whose parameters may be used


def _nothing() -> frozenset[str]:
    return frozenset()


class CommandError(Exception):
    """A command that is refused as it stands; ``reply`` is the answer."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.text)
        self.reply = answer


@dataclass(slots=True)
class Mail:
    """MAIL FROM: a transaction begins."""

    sender: str  # "" is the null sender
    size: int | None = None  # what the client announces (RFC 1870), octets
    eight_bit: bool = False  # BODY=8BITMIME (RFC 6152)
    binary: bool = False  # BODY=BINARYMIME (RFC 3030 §3)
    utf8: bool = False  # SMTPUTF8 (RFC 6531 §3.4)
    require_tls: bool = False  # REQUIRETLS (RFC 8689 §2)
    wanted: requests.Wanted | None = None  # DSN, FUTURERELEASE, DELIVERBY, MT-PRIORITY


@dataclass(slots=True)
class Rcpt:
    """RCPT TO: one more recipient."""

    recipient: str  # as the client wrote it; "postmaster" may have no domain
    notify: str = ""  # RFC 3461 §4.1
    orcpt: str = ""  # RFC 3461 §4.2


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT: a chunk follows (RFC 3030 §2)."""

    size: int  # octets
    last: bool
    refusal: Reply | None = None  # to be said behind the chunk


def parse_mail(argument: str, *, extended: bool, offered: Offered = _nothing) -> Mail:
    """Parse what follows ``MAIL``.  Raises ``CommandError``."""
    sender, words = _path(argument, "FROM:", "5.1.7")
    if sender and "@" not in sender:  # <postmaster> is an address to send to (RFC 5321 §4.1.1.3)
        raise CommandError(reply(501, "5.1.7", "The address of the sender has no domain"))
    mail = Mail(sender)
    if words:
        _apply(mail, "MAIL", words, _MAIL_PARAMETERS, extended=extended, offered=offered)
    _require_utf8(550, sender, allowed=mail.utf8)
    return mail


def _size(mail: Mail, value: str) -> None:
    if not value.isdigit() or len(value) > 20:
        raise grammar.GrammarError("SIZE must be a number of octets")
    mail.size = int(value)


def _body(mail: Mail, value: str) -> None:
    body = value.upper()
    if body not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise grammar.GrammarError("BODY must be 7BIT, 8BITMIME or BINARYMIME")
    mail.eight_bit = body == "8BITMIME"
    mail.binary = body == "BINARYMIME"


def _auth(mail: Mail, value: str) -> None:
    # RFC 4954 §5: whoever offers AUTH accepts this.  What it says is believed from nobody,
    # which is what "<>" would mean to the next hop.
    if not value or not grammar.is_xtext(value):
        raise grammar.GrammarError("AUTH must be an address in xtext, or <>")


def _smtputf8(mail: Mail, value: str) -> None:
    _no_value("SMTPUTF8", value)
    mail.utf8 = True


def _requiretls(mail: Mail, value: str) -> None:
    _no_value("REQUIRETLS", value)
    mail.require_tls = True


def _no_value(keyword: str, value: str) -> None:
    if value:
        raise grammar.GrammarError(f"{keyword} takes no value")


def _request(read: Callable[[requests.Wanted, str], None], mail: Mail, value: str) -> None:
    mail.wanted = mail.wanted or requests.Wanted()
    read(mail.wanted, value)


def _report(keyword: str, read: Callable[[str], str], rcpt: Rcpt, value: str) -> None:
    setattr(rcpt, keyword.lower(), read(value))


# keyword -> the extension that must be offered ("": always is), and what the parameter does to
# the command; it may raise ``GrammarError``
_MAIL_PARAMETERS: Mapping[str, tuple[str, Callable[[Mail, str], None]]] = MappingProxyType(
    {
        "SIZE": ("", _size),
        "BODY": ("", _body),
        "AUTH": ("", _auth),
        "SMTPUTF8": ("", _smtputf8),
        "REQUIRETLS": ("", _requiretls),
        **{
            keyword: (extension, partial(_request, read))
            for keyword, (extension, read) in requests.MAIL.items()
        },
    }
)
_RCPT_PARAMETERS: Mapping[str, tuple[str, Callable[[Rcpt, str], None]]] = MappingProxyType(
    {
        keyword: (extension, partial(_report, keyword, read))
        for keyword, (extension, read) in requests.RCPT.items()
    }
)


def parse_rcpt(
    argument: str, *, extended: bool, utf8: bool = False, offered: Offered = _nothing
) -> Rcpt:
    """Parse what follows ``RCPT``; ``utf8``: MAIL had SMTPUTF8.  Raises ``CommandError``."""
    recipient, words = _path(argument, "TO:", "5.1.3")
    if not recipient:
        raise CommandError(reply(501, "5.1.3", "The null address can't be a recipient"))
    rcpt = Rcpt(recipient)
    if words:
        _apply(rcpt, "RCPT", words, _RCPT_PARAMETERS, extended=extended, offered=offered)
    _require_utf8(553, recipient + rcpt.orcpt, allowed=utf8)
    return rcpt


def _apply(
    command: T,
    verb: str,
    words: str,
    known: Mapping[str, tuple[str, Callable[[T, str], None]]],
    *,
    extended: bool,
    offered: Offered,
) -> None:
    """Let each parameter do to ``command`` what the table says."""
    for keyword, value in _parameters(words, extended=extended).items():
        extension, action = known.get(keyword, ("?", None))
        if action is None or (extension and extension not in offered()):
            raise CommandError(_unknown_parameter(verb, keyword))
        if not (value.isascii() or keyword == "ORCPT"):
            raise CommandError(reply(501, "5.5.4", f"The value of {keyword} must be ASCII"))
        try:
            action(command, value)
        except grammar.GrammarError as error:
            raise CommandError(reply(501, "5.5.4", str(error))) from None


def _require_utf8(code: int, address: str, *, allowed: bool) -> None:
    """RFC 6531 §3.5: an address beyond ASCII needs the parameter, even in its domain alone."""
    if not (allowed or address.isascii()):
        raise CommandError(
            reply(code, "5.6.7", "An address beyond ASCII needs the SMTPUTF8 parameter at MAIL")
        )


def parse_bdat(argument: str) -> Bdat:
    """Parse what follows ``BDAT``.

    Raises ``CommandError`` where it is not known how many octets follow, and thus not where the
    next command begins.  ``Bdat.refusal`` is what is wrong otherwise.
    """
    size, _, rest = argument.strip(" ").partition(" ")
    if not (size.isascii() and size.isdigit()) or len(size) > 20:
        raise CommandError(
            reply(501, "5.5.4", "BDAT must be followed by a number of octets; closing")
        )
    rest = rest.strip(" ").upper()
    wrong = None if rest in ("", "LAST") else reply(501, "5.5.4", "Only LAST may follow the number")
    return Bdat(int(size), rest == "LAST", wrong)


def _path(argument: str, keyword: str, enhanced: str) -> tuple[str, str]:
    """Return the address, and the parameters behind it as they stand."""
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(reply(501, "5.5.4", f"{keyword}<address> must follow"))
    # A space behind the colon is wrong and common; who refuses it helps nobody.
    text = argument[len(keyword) :].lstrip(" ")
    try:
        address, at = grammar.path(text)
        domain_of(address)
    except grammar.GrammarError as error:
        raise CommandError(reply(501, enhanced, f"Syntax of the address: {error}")) from None
    except ValueError:
        raise CommandError(reply(553, "5.1.2", "The domain of the address is not valid")) from None
    rest = text[at:]
    if rest and not rest.startswith(" "):
        raise CommandError(reply(501, "5.5.4", "A space must stand between address and parameters"))
    return address, rest.strip(" ")


def _parameters(words: str, *, extended: bool) -> dict[str, str]:
    if not extended:
        raise CommandError(reply(555, "5.5.4", "Parameters need EHLO instead of HELO"))
    try:
        return grammar.parameters(words, MAX_PARAMETERS)
    except grammar.GrammarError as error:
        raise CommandError(reply(501, "5.5.4", f"Syntax of the parameters: {error}")) from None


def _unknown_parameter(verb: str, keyword: str) -> Reply:
    return reply(555, "5.5.4", f"{verb} parameter {keyword[:40]} is not supported")


def parse_hello(verb: str, argument: str) -> str:
    """Return the name a client gives itself.

    What it is is the client's claim and is taken as it comes, within bounds: many good
    clients don't know their name, and RFC 5321 §4.1.4 forbids to refuse mail for it.
    """
    name = argument.strip(" ")
    if not name or " " in name or len(name) > MAX_HELLO_NAME:
        raise CommandError(
            reply(501, "5.5.4", f"{verb} must be followed by your host name or address literal")
        )
    return name


def check_mail(mail: Mail, *, message_size: int, secure: bool) -> None:
    """Refuse what is not offered at this moment."""
    if mail.size is not None and mail.size > message_size:
        raise CommandError(too_big(message_size))
    if mail.require_tls and not secure:  # RFC 8689 §4.1
        raise CommandError(reply(555, "5.5.4", "REQUIRETLS is only possible inside TLS"))


def check_vrfy(argument: str) -> None:
    """Refuse VRFY without an address.

    One beyond ASCII needs no SMTPUTF8: that asks for UTF-8 in the answer (RFC 6531 §3.7.4.2), and
    ours has none.
    """
    if not argument.strip(" "):
        raise CommandError(reply(501, "5.5.4", "VRFY must be followed by an address"))


def no_argument(verb: str, argument: str) -> None:
    """Refuse arguments where there are none."""
    if argument.strip(" "):
        raise CommandError(reply(501, "5.5.4", f"{verb} takes no parameters"))
