"""One step of an SPF evaluation, by the library pyspf (RFC 7208).

The library asks DNS as it goes, and waits.  Here it is given what is known so far; where that
does not suffice it stops, says what it wants, and the evaluation begins anew when there is
an answer.  So no thread ever waits for DNS, and the evaluation itself stays the library's.

It is the library that counts look-ups (§4.6.4: ten terms, two without an answer, ten names of an MX
or PTR).  An explanation (``exp=``) is a stranger's text: it is not asked for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import spf

Record: TypeAlias = str | tuple[int, str] | tuple[bytes]  # address or name; MX; TXT
Known: TypeAlias = Mapping[tuple[str, str], Sequence[Record] | None]  # None: can't be had

_LABEL = re.compile(r"[ -~]{1,63}\Z")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question to DNS."""

    name: str
    rdtype: str


class _Missing(BaseException):
    """Ends the library's work; it catches ``Exception`` in places."""


class _Query(spf.query):  # type: ignore[misc]
    """The library's evaluation, over what is known."""

    def __init__(self, address: str, sender: str, helo: str, known: Known) -> None:
        super().__init__(i=address, s=sender, h=helo, strict=True)
        self.wanted: Wanted | None = None
        self._known = known

    def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> Any:
        """Answer a question of the library's; aliases have been followed."""
        name = str(name).removesuffix(".").lower()
        if len(name) > 253 or not all(map(_LABEL.match, name.split("."))):
            found: Sequence[Record] | None = ()
        elif (name, qtype) in self._known:
            found = self._known[name, qtype]
        else:
            self.wanted = Wanted(name, qtype)
            raise _Missing
        if found is None and qtype == "PTR":  # §5.5: then the mechanism does not match
            found = ()
        if found is None:
            raise spf.TempError("DNS does not answer")
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("Too many look-ups without an answer")
        return list(found)

    def get_explanation(self, spec: str) -> None:
        """There is none."""


def evaluate(address: str, sender: str, helo: str, known: Known) -> str | Wanted:
    """Return the result (RFC 7208 §2.6), or what has to be known first."""
    query = _Query(address, sender, helo, known)
    try:
        result, _, _ = query.check()
    except _Missing:
        result = ""
    except RecursionError:
        result = "permerror"
    return query.wanted or str(result)
