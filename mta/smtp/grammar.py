"""The syntax of addresses and parameters on the wire (RFC 5321 §4.1.2, §4.1.3).

Functions take text and a place to begin, and return what they found and the place
behind it; ``GrammarError`` says what is wrong in words for the client.  Every one is linear
in the length of its text, and a line is bounded (``framing``).

Departures: an underscore passes in domain names, because hosts with one exist (Postfix
lets it pass as well); a local part may have up to 255 octets instead of the 64 that
everybody must be able to take (RFC 5321 §4.5.3.1: "no limits" is the aim, and bounce
addresses with a hash in them need more).

Characters beyond ASCII pass in local parts and domains (RFC 6531 §3.3); whether they may is
for ``commands`` to say, and what is no domain name in IDNA for ``mail.address``.
"""

import ipaddress
import re

from mta.mail import xtext

MAX_LOCAL_PART = 255
MAX_DOMAIN = 255  # RFC 5321 §4.5.3.1.2

# Atom "." Atom ...; Atom = 1*atext (RFC 5322 §3.2.3).  A dot is no atext: no backtracking.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_UTEXT = _ATEXT.replace("-]", "\x80-\U0010ffff-]")  # RFC 6531 §3.3, UTF8-non-ascii
_DOT_STRING = re.compile(rf"{_UTEXT}(?:\.{_UTEXT})*")
# Quoted-string = DQUOTE *(qtextSMTP / "\" %d32-126) DQUOTE
_QUOTED_STRING = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*"')
_DOMAIN_CHARACTERS = re.compile(r"[A-Za-z0-9._\x80-\U0010ffff-]+")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# esmtp-param = esmtp-keyword ["=" esmtp-value]
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~\x80-\U0010ffff]+")  # RFC 6531 §3.3
# The path that nearly everybody sends, in one step; all others go the long way.
_PLAIN_PATH = re.compile(rf"<({_ATEXT}(?:\.{_ATEXT})*@([A-Za-z0-9._-]+))>")

is_xtext = xtext.is_xtext


class GrammarError(ValueError):
    """The text is not what the standard wants here; the message is for the client."""


def path(text: str, at: int = 0) -> tuple[str, int]:
    """Read ``"<" [A-d-l ":"] Mailbox ">"`` and return the mailbox, without a source route.

    ``<>`` gives ``""``; ``<postmaster>`` in any case, the one address without a domain
    (RFC 5321 §4.1.1.3), gives itself.
    """
    plain = _PLAIN_PATH.match(text, at)
    if plain is not None and plain.end(1) - plain.start(1) <= MAX_DOMAIN:
        _check_domain(plain[2])
        return plain[1], plain.end()
    if not text.startswith("<", at):
        raise GrammarError("an address is written in angle brackets: <user@example.org>")
    if text.startswith("<>", at):
        return "", at + 2
    at = _source_route(text, at + 1)
    address, at = mailbox(text, at)
    if not text.startswith(">", at):
        raise GrammarError("the address does not end with '>' where it should")
    return address, at + 1


def mailbox(text: str, at: int = 0) -> tuple[str, int]:
    """Read ``Local-part "@" ( Domain / address-literal )``."""
    end = _local_part(text, at)
    if not text.startswith("@", end):
        if text.startswith(">", end):
            if text[at:end].lower() == "postmaster":
                return text[at:end], end
            raise GrammarError("the address has no '@' and domain behind its local part")
        raise GrammarError("the local part is not valid")
    end = _host(text, end + 1)
    return text[at:end], end


def _local_part(text: str, at: int) -> int:
    quoted = text.startswith('"', at)
    found = (_QUOTED_STRING if quoted else _DOT_STRING).match(text, at)
    if found is None:
        raise GrammarError(
            "the quoted local part is not closed" if quoted else "the local part is not valid"
        )
    if _octets(found[0]) > MAX_LOCAL_PART:
        raise GrammarError(f"the local part has more than {MAX_LOCAL_PART} octets")
    return found.end()


def _host(text: str, at: int) -> int:
    """Read a domain or an address literal."""
    if text.startswith("[", at):
        return _address_literal(text, at)
    found = _DOMAIN_CHARACTERS.match(text, at)
    if found is None:
        raise GrammarError("the domain is missing or not valid")
    _check_domain(found[0])
    return found.end()


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _check_domain(domain: str) -> None:
    if _octets(domain) > MAX_DOMAIN:
        raise GrammarError(f"the domain has more than {MAX_DOMAIN} octets")
    for label in domain.split("."):
        # What is beyond ASCII is judged as a whole, by IDNA's rules
        if _LABEL.fullmatch(label) is None and (label.isascii() or not label):
            raise GrammarError("the domain is not valid")


def _address_literal(text: str, at: int) -> int:
    """Read ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]`` (RFC 5321 §4.1.3)."""
    end = text.find("]", at)
    inner = text[at + 1 : end]
    tag, colon, rest = inner.partition(":")
    try:
        if end < 0 or "%" in inner:
            raise ValueError
        if colon and tag.lower() == "ipv6":
            ipaddress.IPv6Address(rest)
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        raise GrammarError(
            "an address literal is [192.0.2.1] or [IPv6:2001:db8::1], and this is neither"
        ) from None
    return end + 1


def _source_route(text: str, at: int) -> int:
    """Skip ``@a,@b:``, which is to be accepted and ignored (RFC 5321 §4.1.1.3, app. C)."""
    if not text.startswith("@", at):
        return at
    while True:
        if not text.startswith("@", at):
            raise GrammarError("the source route is not valid")
        at = _host(text, at + 1)
        if text.startswith(":", at):
            return at + 1
        if not text.startswith(",", at):
            raise GrammarError("the source route does not end with ':'")
        at += 1


def parameters(text: str, limit: int) -> dict[str, str]:
    """Read ``SP``-separated ``keyword[=value]``; keywords in upper case, at most ``limit``."""
    found: dict[str, str] = {}
    for word in text.split():
        keyword, equals, value = word.partition("=")
        if _KEYWORD.fullmatch(keyword) is None or (equals and not _VALUE.fullmatch(value)):
            raise GrammarError("a parameter is not of the form KEYWORD=value")
        if keyword.upper() in found:
            raise GrammarError(f"the parameter {keyword.upper()} stands there twice")
        if len(found) == limit:
            raise GrammarError(f"there are more than {limit} parameters")
        found[keyword.upper()] = value
    return found
