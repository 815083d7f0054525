"""The PROXY protocol, versions 1 and 2: who the client is, said by the proxy before it.

The header is the first thing on a connection, before the greeting and before TLS (haproxy's
``proxy-protocol.txt``).  Version 1 is a line of text, version 2 is binary.

Trusts nothing of the octets; that the peer may say such a thing at all is for the caller to
know.  What is not exactly a header is an error as soon as that can be seen, never a reason to
wait.  Bounded: 107 octets in version 1, ``LONGEST`` in version 2.

Knowingly: of version 2 the additional values (TLV) are skipped, the checksum among them.  UDP is
an error, and other protocols than TCP have no address that is of use here.
"""

import ipaddress
import re
from dataclasses import dataclass

LONGEST = 4096  # octets; addresses are 36 of them at most, the rest is additional values
_LONGEST_LINE = 107  # with its CRLF

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE = b"PROXY "
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21  # version and command
_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31  # family and transport


class ProxyHeaderError(ValueError):
    """This is no PROXY header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What it says, and how many octets it had."""

    client: str  # IP address; "" if it is the proxy's own connection, or none is known
    port: int
    octets: int


def parse(data: bytes) -> ProxyHeader | None:
    """Read the header that ``data`` begins with; None while it is not complete.

    Raises ``ProxyHeaderError``.
    """
    if data.startswith(_LINE):
        return _text(data)
    if data.startswith(_SIGNATURE):
        return _binary(data)
    if _LINE.startswith(data) or _SIGNATURE.startswith(data):
        return None
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def _text(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    begun = data[: _LONGEST_LINE if end < 0 else end]
    if len(begun) == _LONGEST_LINE or b"\n" in begun or b"\r" in begun[: -1 if end < 0 else None]:
        raise ProxyHeaderError("its line does not end as it should")
    if end < 0:
        return None
    octets = end + 2
    try:
        family, *words = data[len(_LINE) : end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyHeaderError("its line is not ASCII") from None
    if family == "UNKNOWN":  # what follows is to be ignored
        return ProxyHeader("", 0, octets)
    if family not in ("TCP4", "TCP6") or len(words) != 4:
        raise ProxyHeaderError("its line is not of the form PROXY TCP4 from to port port")
    source, destination, from_port, to_port = words
    client = _address(family, source)
    _address(family, destination)
    _port(to_port)
    return ProxyHeader(client, _port(from_port), octets)


def _address(family: str, text: str) -> str:
    try:
        if family == "TCP4":
            return str(ipaddress.IPv4Address(text))
        if "%" in text:
            raise ValueError
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ProxyHeaderError("an address in it is not one") from None


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65535:
        raise ProxyHeaderError("a port in it is not one")
    return int(text)


def _binary(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        _command(data[12:13])
        return None
    command, family = _command(data[12:13]), data[13]
    octets = 16 + int.from_bytes(data[14:16], "big")
    if octets > LONGEST:
        raise ProxyHeaderError(f"it has {octets} octets")
    if len(data) < octets:
        return None
    block = data[16:octets]
    if command == _LOCAL or family in (_UNSPEC, _UNIX):
        return ProxyHeader("", 0, octets)
    if family == _TCP4 and len(block) >= 12:
        return ProxyHeader(str(ipaddress.IPv4Address(block[:4])), _number(block, 8), octets)
    if family == _TCP6 and len(block) >= 36:
        return ProxyHeader(str(ipaddress.IPv6Address(block[:16])), _number(block, 32), octets)
    raise ProxyHeaderError(f"its family 0x{family:02x} with {len(block)} octets is not known")


def _command(octet: bytes) -> int:
    """Read version and command; 0 while they are not there."""
    if octet and octet[0] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"its version and command 0x{octet[0]:02x} are not known")
    return octet[0] if octet else 0


def _number(block: bytes, at: int) -> int:
    return int.from_bytes(block[at : at + 2], "big")
