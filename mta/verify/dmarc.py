"""DMARC (RFC 9989): is the domain that readers see one that SPF or DKIM have vouched for?

The organisation behind a domain is found by walking up the tree of DNS (§4.10); there is no list
of public suffixes to grow old.  At most eight questions for each domain.

Trusts: DNS.  What DNS does not tell at present is temporary, and never a failure.  Does not
do: reports to the owners of domains (RFC 9990, RFC 9991).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mta.dns.answers import DnsTemporary, NoSuchName
from mta.dns.mx import Lookup
from mta.dns.txt import joined
from mta.verify.dmarc_record import Policy, Record, record
from mta.verify.results import Result

_LABELS = 8  # §4.10: of a longer name only so many questions are asked


@dataclass(frozen=True, slots=True)
class Found:
    """What the tree says about an author's domain."""

    domain: str
    organisation: str  # its organisational domain
    record: Record | None
    policy: Policy = Policy.NONE  # that applies to this domain, ``t=y`` considered


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result, and what the domain's owner wants done; NONE unless the result is "fail"."""

    result: Result
    wish: Policy = Policy.NONE


async def discover(lookup: Lookup, domain: str) -> Found:
    """Find the policy for an author's domain (§4.10.1).  Raises ``DnsTemporary``."""
    records = await _walk(lookup, domain)
    organisation = _organisation(domain, records)
    own = records.get(domain)
    found = own or records.get(organisation) or _of_suffix(records)
    if found is None:
        return Found(domain, organisation, None)
    policy = found.policy
    if own is None:
        policy = found.subdomains or policy
        if found.missing is not None and not await _exists(lookup, domain):
            policy = found.missing
    if found.testing:
        policy = Policy.QUARANTINE if policy is Policy.REJECT else Policy.NONE
    return Found(domain, organisation, found, policy)


async def judge(lookup: Lookup, found: Found, results: Sequence[Result]) -> Verdict:
    """Return the verdict on a message with these results of SPF and DKIM.

    Raises ``DnsTemporary`` if only DNS could tell.
    """
    about: tuple[tuple[str, str], ...] = (("header.from", found.domain),)
    if found.record is None:
        return Verdict(Result("dmarc", "none", about))
    about = (("policy.dmarc", found.policy.value), *about)
    for domain, strict in _vouched(found.record, results):
        if domain == found.domain:
            return Verdict(Result("dmarc", "pass", about))
        if not strict and _related(domain, found.organisation):
            records = await _walk(lookup, domain)
            if _organisation(domain, records) == found.organisation:
                return Verdict(Result("dmarc", "pass", about))
    if any(result.value == "temperror" for result in results):
        return Verdict(Result("dmarc", "temperror", about, "it may pass at another time"))
    return Verdict(Result("dmarc", "fail", about), found.policy)


def _vouched(record: Record, results: Sequence[Result]) -> Iterator[tuple[str, bool]]:
    """Yield the domains that have been authenticated, and whether they must be the very same."""
    for result in results:
        if result.value == "pass" and result.method == "dkim":
            yield result.property("header.d").lower(), record.strict_dkim
        elif result.value == "pass":
            named = result.property("smtp.mailfrom") or result.property("smtp.helo")
            yield named.lower(), record.strict_spf


def _related(domain: str, organisation: str) -> bool:
    """Whether the organisation can be the same: it is the domain, or stands above it."""
    return domain == organisation or domain.endswith("." + organisation)


async def _walk(lookup: Lookup, domain: str) -> dict[str, Record]:
    """Return the records at a domain and above it (§4.10)."""
    records: dict[str, Record] = {}
    for name in _names(domain):
        try:
            found = record(joined(await lookup.lookup(f"_dmarc.{name}", "TXT")))
        except NoSuchName:
            continue
        if found is not None:
            records[name] = found
            if found.public_suffix != "u":
                break
    return records


def _names(domain: str) -> Iterator[str]:
    yield domain
    labels = domain.split(".")
    for number in range(min(len(labels), _LABELS) - 1, 0, -1):
        yield ".".join(labels[-number:])


def _organisation(domain: str, records: dict[str, Record]) -> str:
    """§4.10.2: who says so, or below a public suffix that says so, or the highest record."""
    for name, found in records.items():
        if found.public_suffix == "n":
            return name
        if found.public_suffix == "y" and name != domain:
            below = len(name.split(".")) + 1
            return ".".join(domain.split(".")[-below:])
    return min(records, key=lambda name: name.count("."), default=domain)


def _of_suffix(records: dict[str, Record]) -> Record | None:
    """§4.10.1: without a record of the organisation's, that of the public suffix."""
    return next((found for found in records.values() if found.public_suffix == "y"), None)


async def _exists(lookup: Lookup, domain: str) -> bool:
    try:
        await lookup.lookup(domain, "A")
    except NoSuchName:
        return False
    except DnsTemporary:
        return True
    return True
