"""What a sender may ask of the relays, as parameters of MAIL and RCPT: there and back.

Reports (RFC 3461), a later release (RFC 4865), a deadline (RFC 2852), a priority (RFC 6710).
``MAIL`` and ``RCPT`` are the tables of their parsers; ``mail_parameters`` and
``rcpt_parameters`` say the same to the next hop, as far as it knows the extension.

A value is trusted only as far as its syntax says.  xtext can hide any octet: what it decodes
to must be printable ASCII, or it is refused, so that no report, log or terminal ever sees
a line end that came in by way of ``+0D+0A``.  What was accepted is passed on as it came.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from mta.mail import xtext
from mta.mail.envelope import Asked, Recipient
from mta.smtp.grammar import GrammarError

MAX_ENVID = 100  # RFC 3461 §4.4
MAX_ORCPT = 500  # RFC 3461 §4.2
MAX_HOLD = 999_999_999  # RFC 4865 §4: an interval has up to nine digits

_NOTIFY = ("SUCCESS", "FAILURE", "DELAY")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*/?^_`{|}~.-]{1,64}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-]00:00)"
)  # of RFC 3339, "normalized to UTC" (RFC 4865 §3)
_BY = re.compile(r"([+-]?[0-9]{1,9});([RN])(T?)")
_PRIORITY = re.compile(r"-?[1-9]|0")


@dataclass(frozen=True, slots=True)
class Offer:
    """Which of these extensions a listener offers, beside DSN, which it always does."""

    hold_s: int = 0  # the longest hold (RFC 4865), in seconds; 0: FUTURERELEASE is not offered
    by_s: int | None = None  # the least time to return by (RFC 2852), in seconds; None: not offered
    priority: bool = False
    now_ms: Callable[[], int] = lambda: 0  # the wall clock, for what FUTURERELEASE announces

    def lines(self, *, auth: bool) -> list[str]:
        """Return the lines for the answer to EHLO; ``auth``: the client can log in, or has."""
        lines = ["DSN"]  # RFC 3461 §3
        if self.hold_s and auth:
            lines.append(future_release(self.hold_s, self.now_ms()))
        if self.by_s is not None:
            lines.append(f"DELIVERBY {self.by_s}")  # RFC 2852 §4
        if self.priority:
            lines.append("MT-PRIORITY MIXER")  # RFC 6710 §3, app. A
        return lines

    def keywords(self, *, auth: bool) -> frozenset[str]:
        """Return the extensions that ``lines`` names."""
        return frozenset(line.partition(" ")[0] for line in self.lines(auth=auth))


DSN_ONLY = Offer()


@dataclass(slots=True)
class Wanted:
    """What MAIL asks for; times as they were written, for this knows no clock."""

    ret: str = ""
    envid: str = ""
    hold_s: int | None = None
    hold_until_ms: int | None = None
    hold: str = ""  # the one of the two as it was written, for reports (RFC 4865 §5.1.2)
    by_s: int | None = None
    by_mode: str = ""
    by_trace: bool = False
    priority: int | None = None


def _ret(wanted: Wanted, value: str) -> None:
    if value.upper() not in ("FULL", "HDRS"):
        raise GrammarError("RET must be FULL or HDRS")
    wanted.ret = value.upper()


def _envid(wanted: Wanted, value: str) -> None:
    if not value or len(value) > MAX_ENVID:
        raise GrammarError(f"ENVID must be 1 to {MAX_ENVID} characters of xtext")
    try:
        xtext.decode(value)
    except ValueError as error:
        raise GrammarError(f"ENVID: {error}") from None
    wanted.envid = value


def _hold_for(wanted: Wanted, value: str) -> None:
    if wanted.hold_until_ms is not None:
        raise GrammarError("HOLDFOR and HOLDUNTIL exclude each other")
    if not re.fullmatch("[1-9][0-9]{0,8}", value):
        raise GrammarError("HOLDFOR must be a number of seconds, 1 to 999999999")
    wanted.hold_s, wanted.hold = int(value), f"for;{value}"


def _hold_until(wanted: Wanted, value: str) -> None:
    if wanted.hold_s is not None:
        raise GrammarError("HOLDFOR and HOLDUNTIL exclude each other")
    try:
        if not _DATE_TIME.fullmatch(value.upper()):
            raise ValueError
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise GrammarError("HOLDUNTIL must be a moment in UTC: 2030-12-31T08:00:00Z") from None
    wanted.hold_until_ms = int(moment.timestamp() * 1000)
    wanted.hold = f"until;{value.upper()}"


def _by(wanted: Wanted, value: str) -> None:
    """RFC 2852 §4: ``BY=seconds;mode``; a deadline in the past can only be complained about."""
    found = _BY.fullmatch(value.upper())
    if found is None:
        raise GrammarError("BY must be seconds;R or seconds;N, with T behind it or not")
    wanted.by_s, wanted.by_mode, wanted.by_trace = int(found[1]), found[2], bool(found[3])
    if wanted.by_mode == "R" and wanted.by_s <= 0:
        raise GrammarError("BY: a deadline to return by must lie in the future")


def _priority(wanted: Wanted, value: str) -> None:
    if not _PRIORITY.fullmatch(value):
        raise GrammarError("MT-PRIORITY must be a number from -9 to 9")
    wanted.priority = int(value)


MAIL: Mapping[str, tuple[str, Callable[[Wanted, str], None]]] = MappingProxyType(
    {
        "RET": ("DSN", _ret),
        "ENVID": ("DSN", _envid),
        "HOLDFOR": ("FUTURERELEASE", _hold_for),
        "HOLDUNTIL": ("FUTURERELEASE", _hold_until),
        "BY": ("DELIVERBY", _by),
        "MT-PRIORITY": ("MT-PRIORITY", _priority),
    }
)
"""For each parameter of MAIL the extension that it belongs to, and what reads it."""


def notify(value: str) -> str:
    """Read NOTIFY (RFC 3461 §4.1); the words come back in one order, in capitals."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return "NEVER"
    if "NEVER" in words:
        raise GrammarError("NOTIFY=NEVER stands alone")
    if not set(words) <= set(_NOTIFY):  # one may stand there twice, says the grammar
        raise GrammarError("NOTIFY must be NEVER, or some of SUCCESS,FAILURE,DELAY")
    return ",".join(word for word in _NOTIFY if word in words)


def orcpt(value: str) -> str:
    """Read ORCPT (RFC 3461 §4.2): the type of an address, ";", the address in xtext.

    An address of the type "utf-8" has a form of its own (RFC 6533 §3), in ASCII or not.
    """
    kind, semicolon, address = value.partition(";")
    if len(value) > MAX_ORCPT or not semicolon or not address or not _ATOM.fullmatch(kind):
        raise GrammarError("ORCPT must be a type, a semicolon and an address in xtext")
    try:
        (xtext.decode_utf8 if kind.lower() == "utf-8" else xtext.decode)(address)
    except ValueError as error:
        raise GrammarError(f"ORCPT: {error}") from None
    return value


RCPT: Mapping[str, tuple[str, Callable[[str], str]]] = MappingProxyType(
    {"NOTIFY": ("DSN", notify), "ORCPT": ("DSN", orcpt)}
)
"""For each parameter of RCPT the extension that it belongs to, and what reads it."""


def future_release(interval_s: int, now_ms: int) -> str:
    """Return what FUTURERELEASE announces (RFC 4865 §3): the longest hold, and its end now."""
    until = datetime.fromtimestamp(now_ms // 1000 + interval_s, UTC)
    return f"FUTURERELEASE {interval_s} {until:%Y-%m-%dT%H:%M:%SZ}"


def mail_parameters(asked: Asked, extensions: frozenset[str], now_ms: int) -> bytes:
    """Return what is passed on with MAIL to a hop that has ``extensions``, each after a space.

    Of a deadline the time that is left (RFC 2852 §4.1.4); never a release: it has come.  A
    priority even if nobody has asked for one (RFC 6710 §4.2, RFC 6758 §3.2).
    """
    words = []
    if "DSN" in extensions:
        if asked.ret:
            words.append(f" RET={asked.ret}")
        if asked.envid:
            words.append(f" ENVID={asked.envid}")
    if "MT-PRIORITY" in extensions:
        words.append(f" MT-PRIORITY={asked.priority}")
    by = asked.deliver_by
    if by is not None and "DELIVERBY" in extensions:
        left_s = max(1 if by.mode == "R" else -MAX_HOLD, (by.deadline_ms - now_ms) // 1000)
        words.append(f" BY={left_s};{by.mode}{'T' if by.trace else ''}")
    return "".join(words).encode("ascii")


def original(address: str) -> str:
    """Return the ORCPT that says what the client named (RFC 3461 §5.2.1 (d), RFC 6533 §3)."""
    if address.isascii():
        return f"rfc822;{xtext.encode(address)}"
    return f"utf-8;{xtext.encode_utf8(address)}"


def rcpt_parameters(recipient: Recipient, *, delay: bool = False) -> bytes:
    """Return what is passed on with RCPT to a hop that has DSN (RFC 3461 §5.2.1).

    Where an alias has changed the address, ORCPT says what the client named, unless it has said
    something itself; never for a list's members, whose message is the list's (§5.2.7.1).
    An address in UTF-8 goes in the form that any such hop takes (RFC 6533 §3), unless it is too
    long so.  ``delay``: the hop is to tell of a delay, unless nothing at all is to be told, for
    it does not know the deadline to tell by (RFC 2852 §4.1.4.2).
    """
    notify, orcpt = recipient.notify, recipient.orcpt
    if delay and notify != "NEVER" and "DELAY" not in notify:
        notify = f"{notify or 'FAILURE'},DELAY"
    more = f" NOTIFY={notify}" if notify else ""
    if recipient.given and not (orcpt or recipient.sender):
        orcpt = original(recipient.given)
        orcpt = orcpt if len(orcpt) <= MAX_ORCPT else ""
    if not orcpt.isascii():
        kind, _, address = orcpt.partition(";")
        orcpt = f"{kind};{xtext.encode_utf8(xtext.decode_utf8(address))}"
        orcpt = orcpt if len(orcpt) <= MAX_ORCPT else ""
    if orcpt:
        more += f" ORCPT={orcpt}"
    return more.encode("ascii")
