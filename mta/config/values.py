"""The types of single settings: what is read, what is kept, and how it is written again.

Each is an ``Annotated`` type that pydantic validates.  A ``ValueError``'s text follows the key
path in an error message, so it begins with a verb: ``must be ...``.  What names files and
secrets is in ``file_values``.
"""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from mta.config.endpoints import endpoint
from mta.config.units import format_duration, format_size, parse_duration, parse_size
from mta.dkim.field_names import NEVER_SIGNED
from mta.mail.address import ascii_domain, split
from mta.smtp.mechanisms import MECHANISMS

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_WORKERS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}\Z")  # RFC 5322 §2.2
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
IS_TEXT = WithJsonSchema({"type": "string"})
AS_TEXT = PlainSerializer(str, return_type=str)


def text_of(value: object, example: str) -> str:
    """Return a text; ``example`` is one that would do, without its quotes."""
    if not isinstance(value, str):
        raise ValueError(f'must be a text in quotes, such as "{example}"')
    return value


def domain(value: object) -> str:
    """Return a domain name in lower case, with A-labels."""
    text = text_of(value, "example.org")
    name = ascii_domain(text)
    if len(name) > 253 or not all(map(_LABEL.match, name.split("."))):
        raise ValueError(f'"{text}" is not a domain name')
    return name


def full_name(value: object) -> str:
    """Return the name of a host as EHLO takes it: fully qualified (RFC 5321 §2.3.5)."""
    name = domain(value)
    if "." not in name and name != "localhost":
        raise ValueError(f'"{value}" must be fully qualified, such as "{name}.example.org"')
    return name


def host(value: object) -> str:
    """Return a host's name, or its IP address."""
    text = text_of(value, "relay.example.net")
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return domain(text)


def source_address(value: object) -> str:
    """Return an address of this host to send from."""
    text = text_of(value, "192.0.2.5")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f'"{text}" must be an IP address of this host') from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f'"{text}" is no address that connections can be made from')
    return str(found)


def domain_pattern(value: object) -> str:
    """Return a pattern of domains; "" for the null sender, which is written ``<>``."""
    text = text_of(value, "example.org")
    if text in {"*", "<>"}:
        return text.removeprefix("<>")
    wildcard = text.startswith((".", "*."))
    if "*" in text.removeprefix("*.") or text in {".", "*."}:
        raise ValueError(f'"{text}" must be "example.org", ".example.org" (names below it) or "*"')
    return "." * wildcard + domain(text.removeprefix("*").removeprefix("."))


def address(value: object) -> str:
    """Return a mail address, or "" for none."""
    text = text_of(value, "postmaster@example.org")
    local, at = split(text)
    if text and (not at or re.search(r"[\s<>\x00-\x1f]", text)):
        raise ValueError(f'"{text}" must be a mail address, such as "postmaster@example.org"')
    return f"{local}@{domain(at)}" if text else ""


def address_pattern(value: object) -> str:
    """Return a pattern of addresses, or ``<>``; of a domain alone, all its addresses."""
    text = text_of(value, "app-*@example.org")
    if text in {"<>", "*"} or "{" in text.rpartition("@")[2]:
        return text
    local, at = split(text) if "@" in text else ("", text)
    if text.startswith("@"):
        at = text[1:]
    if re.search(r"[\s<>\x00-\x1f]", text):
        raise ValueError(
            f'"{text}" must be "ann@example.org", "app-*@example.org" or "example.org"'
        )
    return f"{local}@{domain_pattern(at)}"


def owned_pattern(value: object) -> str:
    """Return a pattern of addresses in which ``{login}`` and ``{user}`` stand for the login."""
    text = text_of(value, "{user}@example.org")
    unknown = set(re.findall(r"{[^}]*}?", text)) - {"{login}", "{user}"}
    if unknown:
        raise ValueError(f'"{text}": only {{login}} and {{user}} can stand in braces')
    if text == "{login}":
        return text
    if text in {"{user}", "<>"}:
        raise ValueError(f'"{text}" must have a domain, such as "{{user}}@example.org"')
    return address_pattern(text)


def pattern(value: object) -> str:
    """Return a pattern in which ``*`` is any text."""
    text = text_of(value, "app-*")
    if not text:
        raise ValueError("must not be empty")
    return text


def network(value: object) -> Network:
    """Return a network; one address is a network too."""
    text = text_of(value, "192.0.2.0/24")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f'"{text}" is not a network: write "192.0.2.0/24", "2001:db8::/32" or one address'
        ) from None
    raise ValueError(f'"{text}" has bits set beyond its mask (did you mean "{meant}"?)')


def dns_server(value: object) -> tuple[str, int]:
    """Return address and port of a name server."""
    text = text_of(value, "127.0.0.1:53")
    match = re.fullmatch(
        r"\[(?P<six>[^\]]+)\](?::(?P<p6>\d+))?|(?P<four>[^:]+)(?::(?P<p4>\d+))?", text
    )
    port = int((match["p6"] or match["p4"] or 53) if match else 53)
    bare = (match["six"] or match["four"]) if match else text
    try:
        found = str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(
            f'"{text}" must be an IP address, with a port or without: "127.0.0.1:5353", "[::1]:53"'
        ) from None
    if not 1 <= port <= 65535:
        raise ValueError(f'"{text}": a port lies between 1 and 65535')
    return found, port


def write_dns_server(server: tuple[str, int]) -> str:
    """Return a name server as ``dns_server`` reads it."""
    where, port = server
    return f"[{where}]:{port}" if ":" in where else f"{where}:{port}"


def name(value: object) -> str:
    """Return a name that the log and the trace can show: one word."""
    text = text_of(value, "submission")
    if not _NAME.match(text):
        raise ValueError(f'"{text}" must be one word of letters, digits, "-", "_" and "."')
    return text


def workers(value: object) -> int | str:
    """Return a number of processes, or "auto"."""
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS:
        return value
    raise ValueError(f'must be a number from 1 to {MOST_WORKERS}, or "auto"')


def signed_field(value: object) -> str:
    """Return the name of a header field that a signature may cover (RFC 6376 §5.4.1)."""
    text = text_of(value, "X-Campaign")
    if not _FIELD_NAME.match(text):
        raise ValueError(f'"{text}" is not the name of a header field')
    if text.lower() in NEVER_SIGNED:
        raise ValueError(f'"{text}" is never signed: it does not arrive as it was sent')
    return text


def site_pattern(value: object) -> str:
    """Return a pattern of sites' names; they are domain names, or such as ``smarthost:partner``."""
    text = text_of(value, "mail.protection.example.net")
    return text if ":" in text or "/" in text else domain_pattern(text)


def fingerprint(value: object) -> str:
    """Return a SHA-256 fingerprint as 64 hexadecimal digits; colons may divide them."""
    text = text_of(value, "5e:0f:...").replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(
            f'"{value}" must be a SHA-256 fingerprint: 64 hexadecimal digits, with colons or'
            " without"
        )
    return text


def probe(value: object) -> str:
    """Return a name to test the resolver with; "." is the root."""
    return "." if value == "." else domain(value)


def mechanism(value: object) -> str:
    """Return the name of a mechanism of AUTH."""
    name = text_of(value, "SCRAM-SHA-256").upper()
    if name not in MECHANISMS:
        raise ValueError(f'"{value}" must be one of {", ".join(MECHANISMS)}')
    return name


def _duration_or_never(value: object) -> timedelta | None:
    return None if value == "never" or value is None else parse_duration(value)


def _write_duration_or_never(value: timedelta | None) -> str:
    return "never" if value is None else format_duration(value)


def _write_pattern(pattern: str) -> str:
    return pattern or "<>"


Duration = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    IS_TEXT,
]
DurationOrNever = Annotated[
    timedelta | None,
    PlainValidator(_duration_or_never),
    PlainSerializer(_write_duration_or_never, return_type=str),
    IS_TEXT,
]
Size = Annotated[
    int,
    PlainValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": ["string", "integer"]}),
]
FullName = Annotated[str, BeforeValidator(full_name)]
SourceAddress = Annotated[str, BeforeValidator(source_address)]
Host = Annotated[str, BeforeValidator(host)]
Domain = Annotated[str, BeforeValidator(domain)]
SignedField = Annotated[str, BeforeValidator(signed_field)]
Name = Annotated[str, BeforeValidator(name)]
Workers = Annotated[int | Literal["auto"], PlainValidator(workers), IS_TEXT]
Mechanism = Annotated[str, BeforeValidator(mechanism)]
Address = Annotated[str, BeforeValidator(address)]
DomainPattern = Annotated[
    str, PlainValidator(domain_pattern), PlainSerializer(_write_pattern, return_type=str), IS_TEXT
]
AddressPattern = Annotated[str, BeforeValidator(address_pattern)]
OwnedPattern = Annotated[str, BeforeValidator(owned_pattern)]
Pattern = Annotated[str, BeforeValidator(pattern)]
NetworkValue = Annotated[Network, PlainValidator(network), AS_TEXT, IS_TEXT]
DnsServer = Annotated[
    tuple[str, int],
    PlainValidator(dns_server),
    PlainSerializer(write_dns_server, return_type=str),
    IS_TEXT,
]
Endpoint = Annotated[
    str, BeforeValidator(endpoint), WithJsonSchema({"type": ["string", "integer"]})
]
Fingerprint = Annotated[str, BeforeValidator(fingerprint)]
Probe = Annotated[str, BeforeValidator(probe)]
SitePattern = Annotated[str, PlainValidator(site_pattern), IS_TEXT]
