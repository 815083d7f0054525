"""Mail addresses as the program keeps them (RFC 5321 §2.3.11, RFC 5891).

An address is a ``str`` ``local@domain``; the null sender is ``""``.  The syntax of
what arrives on the wire is checked by ``smtp.grammar``; here is only what the rest
of the program asks of an address that has already been accepted.
"""

import idna


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
