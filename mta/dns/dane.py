"""What the DNS says for sure about a host's certificates: TLSA records (RFC 7672 §2).

A host's addresses come first: where they are not signed no TLSA record can be worth anything,
and servers of unsigned zones that answer such questions wrongly must not hold up mail (§2.2.1).
Where the host is an alias, the end of the chain of CNAMEs is asked about before the host
itself (§2.2.2); a signed alias of an unsigned name is asked about itself alone.

Told apart: there is nothing (or nothing that is signed), and there is no telling.  The second is
never taken for the first.

Trusts: the resolver's word that an answer is authentic; whether that is to be believed
``mta.dns.validation`` says.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key
from twisted.internet.defer import Deferred, DeferredList

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.cache import Cache
from mta.mail.security import Dane, DaneState, Tlsa

_LENGTHS = {1: 32, 2: 64}  # of digests, by matching type
_DIGESTS = (2, 1)  # ours, the strongest first (RFC 7671 §9)
_TA, _EE = 2, 3
_MOST = 50  # records looked at
_KEPT = 10_000  # findings, of a host and port each
_KEPT_S = 30.0  # at most: what the resolver learns is known here soon


class Lookup(Protocol):
    """What is asked of a resolver; ``mta.dns.resolver.Resolver`` is one."""

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Return the records, or fail with ``NoSuchName`` or ``DnsTemporary``."""


class DaneLookup:
    """Finds out what DANE has to say about hosts; answers are the resolver's to keep."""

    def __init__(
        self, resolver: Lookup, clock: Callable[[], float], off: Callable[[], str] = lambda: ""
    ) -> None:
        """``clock`` returns seconds.  ``off`` says why the resolver is not to be believed now,
        "" if it is."""
        self._resolver = resolver
        self._off = off
        self._kept: Cache[Dane] = Cache(clock, _KEPT)

    @property
    def off(self) -> str:
        """Why nothing is known now; "" if it is."""
        return self._off()

    async def facts(self, host: str, port: int) -> Dane:
        """Return DANE's facts about ``host``, which is a name and no address."""
        if off := self._off():
            return Dane(DaneState.OFF, text=off)
        kept = self._kept.get((host, port))
        if kept is not None:
            return kept[0]
        life = _Life()
        found = await self._facts(host, port, life)
        if found.state is not DaneState.FAILED:
            self._kept.put((host, port), found, life.s)
        return found

    async def _facts(self, host: str, port: int, life: "_Life") -> Dane:
        try:
            for base in await self._bases(host, life):
                found = await self._records(base, port, life)
                if found is not None:
                    return found
        except DnsTemporary as error:
            text = f"it cannot be known whether {host} has TLSA records: {error}"
            return Dane(DaneState.FAILED, text=text)
        except _Unsigned:
            return Dane(DaneState.INSECURE)
        return Dane(DaneState.ABSENT)

    async def _bases(self, host: str, life: "_Life") -> Sequence[str]:
        """Return the names that may have TLSA records, in their order."""
        answers = await self._addresses(host)
        for answer in answers:
            life.holds(answer.ttl)
        expanded = answers[0].name if answers else host
        if answers and all(answer.authenticated for answer in answers):
            return tuple(dict.fromkeys((expanded, host)))
        if expanded != host:
            alias = await self._ask(host, "CNAME", life)
            if alias is not None and alias.authenticated and alias.records:
                return (host,)
        raise _Unsigned

    async def _addresses(self, host: str) -> list[Answer]:
        """Return the answers that have addresses; without any, there is no host to secure."""
        lookups = [self._resolver.lookup(host, family) for family in ("AAAA", "A")]
        answers: list[Answer] = []
        failed: DnsTemporary | None = None
        outcomes: Any = await DeferredList(lookups, consumeErrors=True)
        for ok, result in outcomes:
            if ok:
                answers.append(result)
            elif result.check(DnsTemporary):
                failed = result.value
            elif not result.check(NoSuchName):
                result.raiseException()
        found = [answer for answer in answers if answer.records]
        if failed is not None and not found:
            raise failed
        return found

    async def _records(self, base: str, port: int, life: "_Life") -> Dane | None:
        """Return what is published for ``base``; None: nothing, or nothing that is signed."""
        answer = await self._ask(f"_{port}._tcp.{base}", "TLSA", life)
        if answer is None or not answer.records or not answer.authenticated:
            return None
        records = [tlsa(text) for text in answer.texts[:_MOST]]
        good = strongest(record for record in records if usable(record))
        if good:
            return Dane(DaneState.USABLE, good, base)
        shown = ", ".join(map(str, records[:3]))
        text = f"{base} has TLSA records, and none of a kind that SMTP can use ({shown})"
        return Dane(DaneState.UNUSABLE, base=base, text=text)

    async def _ask(self, name: str, rdtype: str, life: "_Life") -> Answer | None:
        try:
            answer = await self._resolver.lookup(name, rdtype)
        except NoSuchName:
            return None
        life.holds(answer.ttl)
        return answer


class _Life:
    """For how long a finding holds that comes of several answers."""

    def __init__(self) -> None:
        self.s = _KEPT_S

    def holds(self, ttl_s: float) -> None:
        """Take note of an answer's time to live."""
        self.s = min(self.s, ttl_s)


class _Unsigned(Exception):
    """The host's addresses are not signed."""


def tlsa(text: str) -> Tlsa:
    """Return a TLSA record in presentation format (RFC 6698 §2.2) as a value."""
    usage, selector, matching, *data = text.split()
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex("".join(data)))


def usable(record: Tlsa) -> bool:
    """Tell whether a record can authenticate an SMTP server.

    RFC 7672 §3.1.3: usages 0 and 1 cannot.  What we don't know, and data that cannot be what it
    should be, can't either (RFC 7671 §4.1, §10.1.1).
    """
    if record.usage not in (_TA, _EE) or record.selector not in (0, 1):
        return False
    if record.matching == 0:
        return _readable(record)
    return len(record.data) == _LENGTHS.get(record.matching)


def _readable(record: Tlsa) -> bool:
    load = x509.load_der_x509_certificate if record.selector == 0 else load_der_public_key
    try:
        load(record.data)
    except Exception:  # whatever hostile data make a parser say
        return False
    return True


def strongest(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Return the records without those whose digest is weaker than another's (RFC 7671 §9).

    Digests are compared among records of one usage and selector; whole certificates and keys
    stay.  The order is always the same, so that equal sets of records are equal.
    """
    kept = sorted(set(records))
    best: dict[tuple[int, int], int] = {}
    for record in kept:
        if record.matching:
            kind = (record.usage, record.selector)
            best[kind] = min(best.get(kind, 9), _DIGESTS.index(record.matching))
    return tuple(
        record
        for record in kept
        if not record.matching
        or _DIGESTS.index(record.matching) == best[record.usage, record.selector]
    )
