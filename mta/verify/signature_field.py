"""A DKIM-Signature field: what it says, or why it is of no use (RFC 6376 §3.5, §6.1.1)."""

import base64
import binascii
import re
from dataclasses import dataclass

from mta.dkim.canonical import Form
from mta.dkim.keys import Algorithm
from mta.mail.address import ascii_domain
from mta.verify import tags
from mta.verify.results import Result

_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_VALUE = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_NUMBER = re.compile(r"[0-9]{1,76}\Z")
_SKEW_S = 300  # a signer's clock may be ahead of ours


class Unusable(Exception):
    """A signature, or its key, cannot be used; ``value`` is the result (RFC 8601 §2.7.1)."""

    def __init__(self, text: str, value: str = "permerror") -> None:
        super().__init__(text)
        self.value = value


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that can be verified."""

    algorithm: Algorithm
    domain: str  # ``d=`` in A-labels, lower case
    selector: str
    user: str  # the domain of ``i=``; that of ``d=`` if there is none
    header_form: Form
    body_form: Form
    names: tuple[bytes, ...]  # ``h=``, lower case
    body_hash: bytes
    value: bytes
    length: int | None  # ``l=``: octets of the body that it covers; None: all
    unsigned: bytes  # the field without the value of ``b=``

    @property
    def record_name(self) -> str:
        """The name of the TXT record with its key (§3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def signature(field: bytes, now_s: float) -> Signature:
    """Read a field, its CRLF included.  Raises ``Unusable``."""
    name, _, text = field.partition(b":")
    try:
        said = tags.read(text.decode("utf-8"))
    except (tags.Malformed, UnicodeDecodeError) as error:
        raise Unusable(f"not a signature: {error}") from None
    missing = [tag for tag in _REQUIRED if not said.get(tag)]
    if missing:
        raise Unusable(f"{missing[0]}= is missing")
    if said["v"] != "1":
        raise Unusable("v= is not 1")
    domain, selector = _name(said["d"]), _name(said["s"])
    header_form, body_form = _forms(said.get("c", "simple/simple"))
    _check_times(said, now_s)
    _check_method(said.get("q", "dns/txt"))
    return Signature(
        algorithm=_algorithm(said["a"].lower()),
        domain=domain,
        selector=selector,
        user=_user(said.get("i"), domain),
        header_form=header_form,
        body_form=body_form,
        names=_names(said["h"]),
        body_hash=_base64(said["bh"]),
        value=_base64(said["b"]),
        length=None if "l" not in said else _number(said["l"]),
        unsigned=name + b":" + _VALUE.sub(rb"\1", text),
    )


def claimed(field: bytes) -> tuple[tuple[str, str], ...]:
    """Return what a field says of itself, for the report on it (RFC 8601 §2.7.1, RFC 6008)."""
    try:
        said = tags.read_leniently(field.partition(b":")[2].decode("utf-8", "replace"))
    except tags.Malformed:
        return ()
    value = tags.without_space(said.get("b", ""))[:8]
    pairs = (("d", said.get("d", "")), ("s", said.get("s", "")), ("b", value))
    return tuple((f"header.{name}", text) for name, text in pairs if text)


def failed(field: bytes, error: Unusable) -> Result:
    """Return the result for a field that cannot be used."""
    return Result("dkim", error.value, claimed(field), str(error))


def _algorithm(text: str) -> Algorithm:
    if text == "rsa-sha1":  # RFC 8301 §3.1
        raise Unusable("rsa-sha1 is no longer believed")
    try:
        return Algorithm(text)
    except ValueError:
        raise Unusable("a= is unknown") from None


def _name(text: str) -> str:
    try:
        name = ascii_domain(tags.without_space(text))
    except ValueError:
        name = ""
    if not name or len(name) > 253 or not re.fullmatch(r"[a-z0-9_.-]+", name):
        raise Unusable("d= or s= is not a name")
    return name


def _forms(text: str) -> tuple[Form, Form]:
    header, _, body = tags.without_space(text).lower().partition("/")
    forms: dict[str, Form] = {"simple": "simple", "relaxed": "relaxed", "": "simple"}
    try:
        return forms[header], forms[body]
    except KeyError:
        raise Unusable("c= is unknown") from None


def _user(text: str | None, domain: str) -> str:
    """§6.1.1: the user's domain is ``d=`` or one below it."""
    if text is None:
        return domain
    user = _name(text.rpartition("@")[2])
    if user != domain and not user.endswith("." + domain):
        raise Unusable("i= is not below d=")
    return user


def _names(text: str) -> tuple[bytes, ...]:
    names = tuple(name.strip().lower().encode("utf-8") for name in text.split(":"))
    if b"from" not in names:
        raise Unusable("From is not signed")
    return names


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise Unusable("not a number")
    return int(text)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(tags.without_space(text), validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("not base64") from None


def _check_times(said: dict[str, str], now_s: float) -> None:
    made = _number(said["t"]) if "t" in said else None
    expires = _number(said["x"]) if "x" in said else None
    if made is not None and expires is not None and expires < made:
        raise Unusable("x= is before t=")
    if expires is not None and expires < now_s:
        raise Unusable("the signature has expired", "fail")
    if made is not None and made > now_s + _SKEW_S:
        raise Unusable("t= is in the future", "policy")


def _check_method(text: str) -> None:
    if "dns/txt" not in tags.without_space(text).lower().split(":"):
        raise Unusable("q= is unknown")
