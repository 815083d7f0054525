"""Mail addresses as the program keeps them (RFC 5321 §2.3.11, RFC 5891).

An address is a ``str`` ``local@domain``; the null sender is ``""``.  The syntax of
what arrives on the wire is checked by ``smtp.grammar``; here is only what the rest
of the program asks of an address that has already been accepted.
"""

import re

import idna

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_QUOTABLE = re.compile(r'(["\\])')
_BACKSLASHED = r"\\\1"


def split(address: str) -> tuple[str, str]:
    """Return local part and domain; the domain is ``""`` where there is none."""
    local, _, domain = address.rpartition("@")
    return (local, domain) if local else (domain, "")


def ascii_domain(domain: str) -> str:
    """Return ``domain`` in lower case with A-labels, as DNS and the spool know it.

    An address literal (``[192.0.2.1]``) comes back as it is, in lower case.
    Raises ``ValueError`` for a name that IDNA 2008 does not allow.
    """
    if domain.isascii():
        return domain.lower().rstrip(".")
    try:
        return idna.encode(domain, uts46=True).decode("ascii").rstrip(".")
    except idna.IDNAError as error:
        raise ValueError(f"{domain!r} is not a domain name: {error}") from error


def domain_of(address: str) -> str:
    """Return the domain of ``address`` as ``ascii_domain`` gives it."""
    return ascii_domain(split(address)[1])


def unquoted(local: str) -> str:
    """Return what a local part says: ``"ann"`` and ``ann`` are the same (RFC 5321 §4.1.2)."""
    if len(local) > 1 and local[0] == local[-1] == '"':
        return _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return local


def quoted(text: str) -> str:
    """Return ``text`` as a local part, in quotes where it needs them."""
    if _DOT_STRING.fullmatch(text):
        return text
    return f'"{_QUOTABLE.sub(_BACKSLASHED, text)}"'


def plainly(local: str) -> str:
    """Return a local part without quotes that it does not need: ``"ann"`` is ``ann``."""
    return quoted(unquoted(local)) if local.startswith('"') else local


def folded(address: str) -> str:
    """Return ``address`` as it is compared: no quotes, no capitals, A-labels.

    Local parts may tell capitals from small letters (RFC 5321 §2.4); no tables of ours do.
    """
    local, domain = split(address)
    try:
        domain = ascii_domain(domain)
    except ValueError:
        domain = domain.lower()
    return f"{unquoted(local).lower()}@{domain}"
