"""Whether a host may send for a domain: SPF (RFC 7208), on MAIL FROM, or on HELO without one.

The evaluation is the library's, a step at a time in a thread (``evaluation``); the questions that
come up are put to our resolver.  Bounded: the standard's limits, and a number of questions.

Trusts: DNS.  Does not do: macros of the receiver's (``%{r}``), explanations.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.mx import Lookup
from mta.dns.txt import joined
from mta.mail.address import ascii_domain, split
from mta.verify import evaluation
from mta.verify.results import Result

Work: TypeAlias = Callable[..., Awaitable[Any]]  # (function, *arguments) in a thread

_QUESTIONS = 120  # 10 terms of 10 hosts each, and some
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}\Z")
_LONGEST = 4096  # octets of a record; §3.4 wants 512


async def check(work: Work, lookup: Lookup, address: str, sender: str, helo: str) -> Result:
    """Return the result for a client.  Never fails for what a stranger wrote."""
    local, domain = split(sender)
    named = "smtp.mailfrom" if sender else "smtp.helo"
    try:
        domain = ascii_domain(domain if sender else helo)
    except ValueError:
        domain = ""
    about = ((named, domain),) if domain else ()
    if not _DOMAIN.match(domain) or len(domain) > 253:
        return Result("spf", "none", about)
    address = address.partition("%")[0]  # of a zone nobody else knows
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return Result("spf", "temperror", about, "the client's address is not known")
    identity = f"{local}@{domain}" if sender else ""
    known: dict[tuple[str, str], Sequence[evaluation.Record] | None] = {}
    while len(known) < _QUESTIONS:
        said = await work(evaluation.evaluate, address, identity, domain if not sender else helo,
                          known)  # fmt: skip
        if isinstance(said, str):
            return Result("spf", said, about)
        known[said.name, said.rdtype] = await _records(lookup, said)
    return Result("spf", "permerror", about, "too many questions to DNS")


async def _records(lookup: Lookup, wanted: evaluation.Wanted) -> Sequence[evaluation.Record] | None:
    try:
        answer = await lookup.lookup(wanted.name, wanted.rdtype)
    except NoSuchName:
        return ()
    except DnsTemporary:
        return None
    return _as_wanted(answer, wanted.rdtype)


def _as_wanted(answer: Answer, rdtype: str) -> Sequence[evaluation.Record]:
    if rdtype == "TXT":
        return [(text,) for text in joined(answer) if len(text) <= _LONGEST]
    if rdtype == "MX":
        return [(mx.preference, mx.exchange) for mx in answer.exchanges]
    return [text.removesuffix(".") for text in answer.texts]
