"""One message being signed: which fields, the hashes, the field that comes out (RFC 6376 §5).

The header is looked at once, when it is complete; the body is hashed as it arrives; the
fields are made when it has ended.  Which fields are signed, ``field_names`` says.

Trusts: that the octets it is given are the ones that leave.  Does not do: ``l=``, ``i=``, ``z=``,
SHA-1 (RFC 8301 §3.1), resent fields, third-party signatures.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mta.dkim.author import author_domain
from mta.dkim.canonical import BodyHash, Form, field
from mta.dkim.field_names import OVERSIGNED, SIGNED
from mta.dkim.keys import Key

HEADER_LIMIT = 64 * 1024  # octets; a message with a longer header is not signed
_WIDTH = 76


class NotSigned(Exception):
    """The message cannot be signed although there is a key; the text says why."""


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """How to sign."""

    header_form: Form = "relaxed"
    body_form: Form = "relaxed"
    additional: tuple[str, ...] = ()  # fields that are signed besides SIGNED
    expire_s: int | None = None  # ``x=``, counted from ``t=``
    relayed: bool = False  # mail of others that only passes through is signed too


@dataclass(frozen=True, slots=True)
class SignedFields:
    """What the header contributes: the ``h=`` tag and the canonical octets of the fields."""

    names: tuple[str, ...]
    octets: bytes


class Selection:
    """Finds the fields to sign; built once for a list of names."""

    def __init__(self, additional: Sequence[str] = ()) -> None:
        known = {name.lower() for name in (*OVERSIGNED, *SIGNED)}
        more = {name.lower(): name for name in additional if name.lower() not in known}
        self._names = (*OVERSIGNED, *SIGNED, *more.values())
        names = b"|".join(re.escape(name.encode("ascii")) for name in self._names)
        self._field = re.compile(
            rb"^(%b)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*" % names, re.MULTILINE | re.IGNORECASE
        )

    def fields(self, header: bytes, form: Form) -> SignedFields:
        """Return what is signed of ``header``, which ends with a CRLF.

        Fields of one name are taken from the bottom up (RFC 6376 §5.4.2).
        """
        found: dict[bytes, list[bytes]] = {}
        for match in self._field.finditer(header):
            found.setdefault(match[1].lower(), []).append(match[0])
        names: list[str] = []
        octets: list[bytes] = []
        for name in self._names:
            there = found.get(name.lower().encode("ascii"), [])
            octets += [field(one, form) for one in reversed(there)]
            names += [name] * (len(there) + (name in OVERSIGNED))
        return SignedFields(tuple(names), b"".join(octets))


_FROM = re.compile(rb"^from[ \t]*:([^\n]*\n(?:[ \t][^\n]*\n)*)", re.MULTILINE | re.IGNORECASE)


def header_end(octets: bytes, *, whole: bool) -> int:
    """Return how long the header is, the empty line not included; -1 if its end is not there.

    Of a ``whole`` message without an empty line all is header (RFC 5322 §3.5).
    """
    end = -2 if octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n", 0, HEADER_LIMIT)
    if end == -1:
        return len(octets) if whole and len(octets) <= HEADER_LIMIT else -1
    return end + 2


def header_incomplete(octets: bytes) -> bool:
    """Tell whether the end of the header may still come, near enough for us to wait for it."""
    return len(octets) < HEADER_LIMIT and header_end(octets, whole=False) < 0


def from_domain(header: bytes) -> str:
    """Return the domain that the message is from, or "".

    Raises ``NotSigned`` if there are several From fields: which of them a reader is shown
    nobody knows (RFC 5322 §3.6, RFC 6376 §8.15).
    """
    found = _FROM.findall(header)
    if len(found) > 1:
        raise NotSigned(f"it has {len(found)} From fields")
    return author_domain(found[0]) if found else ""


class Signing:
    """One message on its way: feed it the body, then ask for the fields."""

    def __init__(
        self, keys: Sequence[Key], fields: SignedFields, settings: SigningSettings, at_s: int
    ) -> None:
        """``at_s`` is the ``t=`` tag: seconds since the epoch."""
        self.keys = keys
        self._fields = fields
        self._settings = settings
        self._at_s = at_s
        self._body = BodyHash(settings.body_form)
        self.feed = self._body.feed

    def finish(self) -> bytes:
        """Return one DKIM-Signature field for each key, CRLF included; takes milliseconds."""
        body = base64.b64encode(self._body.digest()).decode("ascii")
        signed = hashlib.sha256(self._fields.octets)
        return b"".join(self._signature(key, body, signed.copy()) for key in self.keys)

    def _signature(self, key: Key, body: str, signed: "hashlib._Hash") -> bytes:
        unsigned = self._unsigned(key, body)
        signed.update(field(unsigned + b"\r\n", self._settings.header_form)[:-2])
        value = base64.b64encode(key.sign(signed.digest()))
        lines = [value[at : at + _WIDTH - 4] for at in range(0, len(value), _WIDTH - 4)]
        return unsigned + b"\r\n\t" + b"\r\n\t".join(lines) + b"\r\n"

    def _unsigned(self, key: Key, body: str) -> bytes:
        """Return the field up to the value of ``b=``, as it is signed (RFC 6376 §3.7)."""
        settings = self._settings
        times = f"t={self._at_s};"
        if settings.expire_s is not None:
            times += f" x={self._at_s + settings.expire_s};"
        forms = f"{settings.header_form}/{settings.body_form}"
        lines = [
            f"DKIM-Signature: v=1; a={key.algorithm}; c={forms};",
            f"d={key.domain};",
            f"s={key.selector}; {times}",
            *_folded([name.lower() for name in self._fields.names]),
            f"bh={body};",
            "b=",
        ]
        return "\r\n\t".join(lines).encode("ascii")


def _folded(names: Iterable[str]) -> list[str]:
    """Return the ``h=`` tag in lines; it may be folded beside its colons (RFC 6376 §3.5)."""
    lines, line = [], "h="
    for name in names:
        if len(line) + len(name) > _WIDTH - 4:
            lines.append(line)
            line = " "
        line += name + ":"
    return [*lines, line[:-1] + ";"]
