"""Command lines to values (RFC 5321 §4.1.1, and the parameters of the extensions).

A line has already been found to be printable ASCII when it comes here, so that nothing
that is parsed can hold CR, LF, NUL or another control character.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mta.mail.address import domain_of
from mta.smtp import grammar, requests
from mta.smtp.replies import Reply, reply

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
    wanted: requests.Wanted | None = None  # DSN, FUTURERELEASE, DELIVERBY, MT-PRIORITY


@dataclass(slots=True)
class Rcpt:
    """RCPT TO: one more recipient."""

    recipient: str  # as the client wrote it; "postmaster" may have no domain
    notify: str = ""  # RFC 3461 §4.1
    orcpt: str = ""  # RFC 3461 §4.2


def parse_mail(argument: str, *, extended: bool, offered: Offered = _nothing) -> Mail:
    """Parse what follows ``MAIL``.  Raises ``CommandError``."""
    sender, words = _path(argument, "FROM:", "5.1.7")
    mail = Mail(sender)
    if words:
        for keyword, value in _parameters(words, extended=extended).items():
            _mail_parameter(mail, keyword, value, offered)
    return mail


def _mail_parameter(mail: Mail, keyword: str, value: str, offered: Offered) -> None:
    if keyword == "SIZE":
        if not value.isdigit() or len(value) > 20:
            raise CommandError(reply(501, "5.5.4", "SIZE must be a number of octets"))
        mail.size = int(value)
    elif keyword == "BODY":
        if value.upper() not in ("7BIT", "8BITMIME"):
            raise CommandError(reply(501, "5.5.4", "BODY must be 7BIT or 8BITMIME"))
        mail.eight_bit = value.upper() == "8BITMIME"
    elif keyword == "AUTH":
        # RFC 4954 §5: whoever offers AUTH accepts this.  What it says is believed from nobody,
        # which is what "<>" would mean to the next hop.
        if not value or not grammar.is_xtext(value):
            raise CommandError(reply(501, "5.5.4", "AUTH must be an address in xtext, or <>"))
    elif keyword in requests.MAIL and requests.MAIL[keyword][0] in offered():
        mail.wanted = mail.wanted or requests.Wanted()
        try:
            requests.MAIL[keyword][1](mail.wanted, value)
        except grammar.GrammarError as error:
            raise CommandError(reply(501, "5.5.4", str(error))) from None
    else:
        raise CommandError(_unknown_parameter("MAIL", keyword))


def parse_rcpt(argument: str, *, extended: bool, offered: Offered = _nothing) -> Rcpt:
    """Parse what follows ``RCPT``.  Raises ``CommandError``."""
    recipient, words = _path(argument, "TO:", "5.1.3")
    if not recipient:
        raise CommandError(reply(501, "5.1.3", "The null address can't be a recipient"))
    rcpt = Rcpt(recipient)
    if words:
        for keyword, value in _parameters(words, extended=extended).items():
            _rcpt_parameter(rcpt, keyword, value, offered)
    return rcpt


def _rcpt_parameter(rcpt: Rcpt, keyword: str, value: str, offered: Offered) -> None:
    if keyword not in requests.RCPT or requests.RCPT[keyword][0] not in offered():
        raise CommandError(_unknown_parameter("RCPT", keyword))
    try:
        setattr(rcpt, keyword.lower(), requests.RCPT[keyword][1](value))
    except grammar.GrammarError as error:
        raise CommandError(reply(501, "5.5.4", str(error))) from None


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


def no_argument(verb: str, argument: str) -> None:
    """Refuse arguments where there are none."""
    if argument.strip(" "):
        raise CommandError(reply(501, "5.5.4", f"{verb} takes no parameters"))
