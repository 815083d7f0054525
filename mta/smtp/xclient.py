"""XCLIENT: a proxy says whose session it is (Postfix's XCLIENT, which has no RFC).

``XCLIENT 1*( SP name "=" value )``, values in xtext; ``[UNAVAILABLE]`` and ``[TEMPUNAVAIL]`` say
that the proxy does not know.  Whoever may send it can be anybody, so it is offered, and known,
only where the caller says so (``names``); behind ADDR or LOGIN it is over (``extensions``).

PORT, DESTADDR and DESTPORT are checked and not kept: nothing here depends on them.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mta.mail import xtext
from mta.smtp.commands import CommandError, parse_hello
from mta.smtp.replies import Reply, reply

NAMES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "DESTADDR", "DESTPORT")
LOGIN = "LOGIN"

_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")

NOT_PERMITTED = reply(550, "5.7.0", "XCLIENT is not permitted from here")


@dataclass(frozen=True, slots=True)
class XClient:
    """What the proxy says; None: of that it says nothing; "": that it is not known."""

    address: str | None = None
    host_name: str | None = None  # what DNS calls the address, as the proxy has found it
    hello: str | None = None
    extended: bool | None = None  # the client said EHLO
    login: str | None = None


def parse_xclient(argument: str, names: tuple[str, ...]) -> XClient:
    """Parse what follows ``XCLIENT``; raises ``CommandError``.

    ``names`` are the attributes that this client may use; none: it must not use the command.
    """
    if not names:
        raise CommandError(NOT_PERMITTED)
    said, seen = XClient(), set()
    for word in argument.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if name not in names or not equals:
            raise CommandError(reply(501, "5.5.4", f"XCLIENT takes {' '.join(names)}"))
        if name in seen:
            raise CommandError(reply(501, "5.5.4", f"{name} stands there twice"))
        seen.add(name)
        said = replace(said, **_READ[name](_decoded(name, value)))
    if not seen:
        raise CommandError(reply(501, "5.5.4", "XCLIENT must be followed by NAME=value"))
    return said


def _decoded(name: str, value: str) -> str:
    """Return the value; "" if it is not known."""
    if value.upper() in _UNKNOWN:
        return ""
    try:
        decoded = xtext.decode(value)
    except ValueError:
        decoded = ""
    if not decoded or len(decoded) > 255:
        raise CommandError(_wrong(name))
    return decoded


def _wrong(name: str) -> Reply:
    return reply(501, "5.5.4", f"The value of {name} is not valid")


def _address(name: str, value: str) -> str:
    tag, colon, rest = value.partition(":")
    try:
        if not value:
            return ""
        if colon and tag.upper() == "IPV6" and "%" not in rest:
            return str(ipaddress.IPv6Address(rest))
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise CommandError(_wrong(name)) from None


def _name(value: str) -> dict[str, str]:
    if value and _HOST_NAME.fullmatch(value) is None:
        raise CommandError(_wrong("NAME"))
    return {"host_name": value}


def _proto(value: str) -> dict[str, bool]:
    if value.upper() not in ("SMTP", "ESMTP", ""):
        raise CommandError(_wrong("PROTO"))
    return {"extended": value.upper() == "ESMTP"}


def _port(name: str) -> Callable[[str], dict[str, str]]:
    def read(value: str) -> dict[str, str]:
        if value and (_PORT.fullmatch(value) is None or int(value) > 65535):
            raise CommandError(_wrong(name))
        return {}

    return read


def _destination(value: str) -> dict[str, str]:
    _address("DESTADDR", value)
    return {}


_READ: Mapping[str, Callable[[str], dict[str, Any]]] = MappingProxyType(
    {
        "NAME": _name,
        "ADDR": lambda value: {"address": _address("ADDR", value)},
        "PORT": _port("PORT"),
        "PROTO": _proto,
        "HELO": lambda value: {"hello": parse_hello("HELO", value) if value else ""},
        "LOGIN": lambda value: {"login": value},
        "DESTADDR": _destination,
        "DESTPORT": _port("DESTPORT"),
    }
)
