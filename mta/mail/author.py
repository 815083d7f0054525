"""Who a message says it is from: the ``From:`` fields of its header (RFC 5322 §3.6.2).

Looks at every field that any mail program might take for one, so the search is wider than the
grammar: white space before the colon, any case.  Of the values only the forms in
common use are understood; anything else (groups, routes, nested comments) is said to be
unclear, because two readers might read two things.  What encoded words hide in a name is looked
at as well.  Reads a header block, never the whole message.
"""

import re
import unicodedata
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header

_FROM = re.compile(rb"(?i:(?:\A|(?<=\n))from(?:[ \t]|\r\n[ \t])*:)")
_ADDRESS = r"[^<>\s\"(),;:\\@]+@[A-Za-z0-9.-]+"
_MAILBOX = re.compile(
    rf"\s*+(?:(?:\"([^\"\\<>]*)\"[ \t]*|([^\"\\@<>(),;:]*))<({_ADDRESS})>|({_ADDRESS}))"
    r"[ \t]*(?:\(([^()\\@]*)\)[ \t]*)?(?:,|\Z)"
)
_LIKE_AN_ADDRESS = re.compile(r"(?<![^\s<>\"'(),;:@])[^\s<>\"'(),;:@]++@[^\s<>\"'(),;:@]+")
_LONGEST = 8192  # octets of a field; who has more to say of its authors is not understood
_FOLD = re.compile(r"\r\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Authors:
    """What was found."""

    fields: int
    addresses: tuple[str, ...] | None  # of the first field; None: it cannot be told
    at: int  # where the first field begins; -1 without one


def authors(header: bytes) -> Authors:
    """Find the authors in a header block."""
    found = list(_FROM.finditer(header))
    if not found:
        return Authors(0, (), -1)
    start = found[0].end()
    mailboxes = _mailboxes(header, start)
    addresses = None if mailboxes is None else tuple(a for one in mailboxes for a in one)
    return Authors(len(found), addresses, found[0].start())


def several(header: bytes, at: int) -> bool:
    """Tell whether the field whose value begins at ``at`` has more than one mailbox in it."""
    mailboxes = _mailboxes(header, at)
    return mailboxes is not None and len(mailboxes) > 1


def rewritten(block: bytes, at: int, address: str) -> bytes:
    """Return ``block`` with another author; the field at ``at`` stays as ``X-Original-From:``."""
    new = b"From: <" + address.encode("utf-8") + b">\r\nX-Original-"
    return block[:at] + new + block[at:]


def _end_of_field(header: bytes, start: int) -> int:
    end = header.find(b"\r\n", start)
    while end >= 0 and header[end + 2 : end + 3] in (b" ", b"\t"):
        end = header.find(b"\r\n", end + 2)
    return len(header) if end < 0 else end


def _mailboxes(header: bytes, at: int) -> list[tuple[str, ...]] | None:
    """Return for each mailbox the address, and what looks like one; None: it cannot be told."""
    value = header[at : _end_of_field(header, at)]
    if len(value) > _LONGEST:
        return None
    try:
        text = _FOLD.sub("", value.decode("utf-8")).strip()
    except UnicodeDecodeError:
        return None
    found: list[tuple[str, ...]] = []
    at = 0
    while at < len(text):
        mailbox = _MAILBOX.match(text, at)
        if mailbox is None:
            return None
        # An address as the display name is what many readers see in the place of the other.
        shown = [_shown(name) for name in mailbox.group(1, 2, 5) if name]
        if None in shown:
            return None
        seen = (one for name in shown if name for one in _LIKE_AN_ADDRESS.findall(name))
        found.append((*seen, mailbox[3] or mailbox[4]))
        at = mailbox.end()
    return found or None


def _shown(name: str) -> str | None:
    """Return a name as readers show it: encoded words decoded (RFC 2047), "\uff20" taken for "@".

    Decoded wherever they stand, in quotes too, because some readers do; None: it cannot be.
    """
    if "=?" in name:
        try:
            name = "".join(_decoded(*part) for part in decode_header(name))
        except (HeaderParseError, LookupError, ValueError):
            return None
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def _decoded(part: str | bytes, charset: str | None) -> str:
    """Return what a part of a name says; one that was no encoded word comes escaped."""
    return part if isinstance(part, str) else part.decode(charset or "raw-unicode-escape")
