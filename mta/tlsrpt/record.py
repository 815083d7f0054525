"""Where a domain wants reports: its TXT record at ``_smtp._tls`` (RFC 8460 §3).

Whoever owns a domain writes what he likes here.  Bounded are the octets of a record and the
number of places; a place is an address that mail can go to, or an ``https`` URL of printable ASCII
without user and password.  Of ``mailto:`` only the address counts, never the header fields that
such a URL may have.  Unknown fields and schemes are passed over (§3).
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from mta.smtp import grammar

MOST = 4  # places
_LONGEST = 4096  # octets of a record
_LONGEST_URI = 1024
_VERSION = b"v=TLSRPTv1"
_FIELD_END = re.compile(rb"[ \t]*;")


def name_of(domain: str) -> str:
    """Return the name of a domain's record."""
    return f"_smtp._tls.{domain}"


def places(texts: Iterable[bytes]) -> tuple[str, ...] | None:
    """Return the URIs in the record among the TXT records of a name, good ones alone.

    None: the domain wants no reports; there is no record, or more than one.
    """
    found = [one for one in texts if _begins(one)]
    if len(found) != 1 or len(found[0]) > _LONGEST:
        return None
    fields = [one.strip(" \t") for one in found[0].decode("utf-8", "replace").split(";")[1:]]
    rua = [one.removeprefix("rua=") for one in fields if one.startswith("rua=")]
    uris = [uri.strip(" \t") for one in rua for uri in one.split(",")]
    good = dict.fromkeys(uri for uri in uris if address_of(uri) or is_https(uri))
    return tuple(good)[:MOST]


def _begins(octets: bytes) -> bool:
    version, rest = octets[: len(_VERSION)], octets[len(_VERSION) :]
    return version == _VERSION and _FIELD_END.match(rest) is not None


def address_of(uri: str) -> str:
    """Return the address that a ``mailto:`` URI names (RFC 6068); "" if it names none."""
    if uri[:7].lower() != "mailto:" or not _plain(uri):
        return ""
    text = unquote(uri[7:].partition("?")[0])
    if not text.isascii() or not text.isprintable() or '"' in text:
        return ""
    try:
        address, end = grammar.mailbox(text)
    except grammar.GrammarError:
        return ""
    domain = address.rpartition("@")[2]
    plain = end == len(text) and "." in domain and not domain.startswith("[")
    return address if plain else ""


def is_https(uri: str) -> bool:
    """Tell whether a report can be posted to a URI."""
    if uri[:8].lower() != "https://" or not _plain(uri):
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.netloc and port != 0


def _plain(uri: str) -> bool:
    """Tell whether a text has nothing in it that a URI cannot have (RFC 3986), and is short."""
    return len(uri) <= _LONGEST_URI and re.fullmatch(r"[!#-;=?-\[\]_a-z~]+", uri) is not None
