"""Tables that put one address in the place of another, by address or by domain.

The most particular entry decides: the address, then ``@its.domain``, then the nearest
``.domain`` that it lies below (masquerading: hosts inside do not show their names outside).  One
step only: what an entry gives is not looked up again, so nothing can go round in circles.
The null sender is never changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mta.mail.address import ascii_domain, folded, split
from mta.smtp.grammar import mailbox


@dataclass(frozen=True, slots=True)
class Rewrites:
    """One table."""

    addresses: dict[str, str] = field(default_factory=dict)  # folded -> address or "@domain"
    domains: dict[str, str] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)  # without its dot

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Rewrites":
        """Make a table; ``ValueError`` names what is wrong with an entry."""
        table = cls()
        for key, value in pairs:
            kind, name = _key(key)
            part = {"": table.addresses, "@": table.domains, ".": table.below}[kind]
            if name in part:
                raise ValueError(f'"{key}" stands there twice')
            part[name] = _value(value)
        return table

    def __bool__(self) -> bool:
        return bool(self.addresses or self.domains or self.below)

    def rewrite(self, address: str) -> str:
        """Return what takes the place of ``address``, or itself."""
        if not address:
            return address
        key = folded(address)
        target = self.addresses.get(key)
        if target is None:
            domain = key.rpartition("@")[2]
            target = self.domains.get(domain)
            while target is None and domain:
                domain = domain.partition(".")[2]
                target = self.below.get(domain)
        if target is None:
            return address
        return split(address)[0] + target if target.startswith("@") else target


def _key(text: str) -> tuple[str, str]:
    if text.startswith(("@", ".")) and len(text) > 1:
        return text[0], ascii_domain(text[1:])
    if "@" not in text:
        raise ValueError(f'"{text}" must be ann@example.org, @example.org or .example.org')
    return "", folded(_address(text))


def _value(text: str) -> str:
    if text.startswith("@") and _address(f"x{text}"):
        return f"@{ascii_domain(text[1:])}"
    return _address(text)


def _address(text: str) -> str:
    """Return ``text`` if it is an address and nothing else."""
    try:
        found, end = mailbox(text)
        ascii_domain(split(found)[1])
    except ValueError as error:
        raise ValueError(f'"{text}": {error}') from None
    if end != len(text):
        raise ValueError(f'"{text}" is not an address')
    return found
