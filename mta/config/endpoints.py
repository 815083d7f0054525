"""Where a listener listens: a Twisted endpoint string, or a short form of one.

``465`` is all IPv4 addresses, ``127.0.0.1:465`` and ``[::1]:465`` are one address; ``[::]:465``
is all IPv6 and, on Linux, all IPv4 addresses.  Anything else is an endpoint string of
Twisted's or of a plugin's (``systemd:domain=INET6:name=smtps``, ``unix:/run/mta/smtp``).
The syntax is checked; nothing is bound, and an inherited socket need not be there.
"""

import ipaddress
import re
from typing import Any

_PORT = re.compile(r"(\d+)\Z")
_ADDRESS_AND_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[\d.]+)):(?P<port>\d+)\Z")
_TCP_PORT = re.compile(r"tcp6?:(?:port=)?(\d+)(?::|\Z)")
# What needs no asking, for that takes longer than all the rest of the file
_PLAIN = re.compile(r"tcp:\d+(?::interface=[\d.]+)?(?::backlog=\d+)?\Z", re.ASCII)
_SYSTEMD = re.compile(r"systemd:domain=(?:INET6?|UNIX):(?:name=[^:]+|index=\d+)\Z")

# It makes endpoints without touching the reactor they are made for.
_NO_REACTOR: Any = None


def endpoint(value: object) -> str:
    """Return the endpoint string that ``value`` means; ``ValueError`` says what is wrong."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('must be a port or an endpoint in quotes, such as "tcp:465"')
    written = _written_out(value)
    if written.startswith(("ssl:", "tls:")):
        raise ValueError(f'"{value}": write "tcp:..." here, and tls = "implicit" beside it')
    if written.startswith("systemd:"):
        if not _SYSTEMD.match(written):
            raise ValueError(f'"{value}": write "systemd:domain=INET6:name=NAME"')
        return written
    _check(value, written)
    return written


def _written_out(text: str) -> str:
    """Return the endpoint string of a short form; anything else as it is."""
    if _PORT.match(text):
        return f"tcp:{text}"
    match = _ADDRESS_AND_PORT.match(text)
    if match is None:
        return text
    try:
        address = ipaddress.ip_address(match["six"] or match["four"])
    except ValueError:
        raise ValueError(f'"{text}": {match["six"] or match["four"]} is no IP address') from None
    protocol = "tcp" if address.version == 4 else "tcp6"
    interface = str(address).replace(":", r"\:")
    return f"{protocol}:{match['port']}:interface={interface}"


def _check(value: str, written: str) -> None:
    if written == value and not _PLAIN.match(value):  # not one of our short forms
        _check_with_twisted(value)
    port = _TCP_PORT.match(written)
    if port is not None and int(port[1]) > 65535:
        raise ValueError(f'"{value}": a port is at most 65535')


def _check_with_twisted(value: str) -> None:
    # Slow to import, and the command line reads the configuration at every run.
    from twisted.internet.endpoints import serverFromString  # noqa: PLC0415

    try:
        serverFromString(_NO_REACTOR, value)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f'"{value}" is no endpoint ({error}): write "465", "127.0.0.1:465", "[::1]:465"'
            ' or an endpoint string such as "tcp:465"'
        ) from None
