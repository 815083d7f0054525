"""A DMARC policy record (RFC 9989 §4.7), as far as a receiver needs it to decide."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mta.verify import tags

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_LONGEST = 4096  # octets


class Policy(StrEnum):
    """What the owner of a domain wants done with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says."""

    policy: Policy  # ``p=``
    subdomains: Policy | None = None  # ``sp=``
    missing: Policy | None = None  # ``np=``: subdomains that do not exist
    strict_dkim: bool = False  # ``adkim=s``
    strict_spf: bool = False  # ``aspf=s``
    public_suffix: str = "u"  # ``psd=``: "y", "n", or not said
    testing: bool = False  # ``t=y``: one degree less


def record(texts: Iterable[bytes]) -> Record | None:
    """Return the record among the TXT records of a name; None without one, or with several."""
    found = []
    for octets in texts:
        text = octets.decode("utf-8", "replace")
        if len(octets) <= _LONGEST and _VERSION.match(text):
            found.append(text)
    return _record(found[0]) if len(found) == 1 else None


def _record(text: str) -> Record | None:
    said = {name: value.lower() for name, value in tags.read_leniently(text).items()}
    policy = _policy(said.get("p"))
    if policy is None:  # §4.7: who wants reports, at least, has a policy of "none"
        if "mailto:" not in said.get("rua", ""):
            return None
        policy = Policy.NONE
    suffix = said.get("psd", "u")
    return Record(
        policy,
        _policy(said.get("sp")),
        _policy(said.get("np")),
        said.get("adkim") == "s",
        said.get("aspf") == "s",
        suffix if suffix in ("y", "n") else "u",
        said.get("t") == "y",
    )


def _policy(text: str | None) -> Policy | None:
    try:
        return Policy(text or "")
    except ValueError:
        return None
