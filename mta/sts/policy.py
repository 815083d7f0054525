"""A policy (RFC 8461 §3.2): reads it, writes it, and says which hosts it names (§4.1).

Read strictly where it matters: what a policy allows is never guessed.  Let pass are empty lines, a
final dot of a host name, ``_`` in one, and unknown fields (which §3.2 demands).  Of a field that
comes twice the first counts.  A life of more than a year is a year.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mta.security.facts import StsMode

LONGEST_AGE_S = 31_557_600
LARGEST = 64 * 1024  # octets of a policy (§3.3)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_AGE = re.compile(r"[0-9]{1,10}")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class PolicyInvalid(Exception):
    """This is no policy; one line."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain has promised."""

    mode: StsMode
    max_age_s: int
    mx: tuple[str, ...] = ()  # patterns, lower case: a host's name, or "*." and a domain
    _patterns: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", frozenset(self.mx))

    def names(self, host: str) -> bool:
        """Tell whether ``host`` is named; a wildcard is exactly one label, the leftmost."""
        host = host.lower().removesuffix(".")
        if "*" in host:
            return False
        label, _, rest = host.partition(".")
        return host in self._patterns or (label != "" and f"*.{rest}" in self._patterns)

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as lines, as reports have it (RFC 8460 §4.4) and as it is kept."""
        head = ("version: STSv1", f"mode: {self.mode}")
        return (*head, *(f"mx: {one}" for one in self.mx), f"max_age: {self.max_age_s}")


def parse(document: bytes) -> Policy:
    """Return the policy in a document; raises ``PolicyInvalid``."""
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise PolicyInvalid("it is not UTF-8") from None
    fields, mx = _fields(text)
    version, mode, age = (fields.get(name, "") for name in ("version", "mode", "max_age"))
    if version != "STSv1":
        raise PolicyInvalid(f"its version is {version[:40]!a}, not STSv1")
    if mode not in tuple(StsMode):
        raise PolicyInvalid(f"its mode is {mode[:40]!a}")
    if not _AGE.fullmatch(age):
        raise PolicyInvalid(f"its max_age is {age[:40]!a}")
    if not mx and mode != StsMode.NONE:
        raise PolicyInvalid("it names no mx")
    patterns = tuple(dict.fromkeys(map(_pattern, mx)))  # one may stand there twice, in capitals
    return Policy(StsMode(mode), min(int(age), LONGEST_AGE_S), patterns)


def _fields(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the fields, the first of each, and all values of ``mx`` in their order."""
    fields: dict[str, str] = {}
    mx: dict[str, None] = {}  # an ordered set
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r").rstrip(" \t")
        if not line:
            continue
        name, colon, value = line.partition(":")
        value = value.lstrip(" \t")
        if not colon or not value or not _NAME.fullmatch(name) or _CONTROLS.search(value):
            raise PolicyInvalid(f"its line {number} is no field: {line[:40]!a}")
        if name == "mx":
            mx.setdefault(value)
        else:
            fields.setdefault(name, value)
    return fields, list(mx)


def _pattern(value: str) -> str:
    pattern = value.lower().removesuffix(".")
    if len(pattern) > 255 or not _PATTERN.fullmatch(pattern):
        raise PolicyInvalid(f"its mx {value[:80]!a} is neither a host nor *.domain")
    return pattern


def kept(lines: Iterable[str]) -> Policy:
    """Return the policy that ``lines`` are of."""
    return parse("\n".join(lines).encode())
