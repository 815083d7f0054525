"""One message from outside, verified while it arrives.

As soon as the header is there all questions go to DNS; when the last octet has come, what is
known by then and within some seconds more is the result.  What is not known in time is a
``temperror``: our own slowness is nobody's failure.

``Verifier`` is made once; a thread of its own does what takes the processor's time.  Everything
here takes no more than its bounds say whatever the message says: signatures, questions, seconds.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mta.dkim.author import LONGEST, author_domains
from mta.dns.answers import DnsTemporary, NoSuchName
from mta.dns.mx import Lookup
from mta.dns.txt import joined
from mta.mail.author import authors
from mta.verify import dkim, dmarc
from mta.verify.dmarc_record import Policy
from mta.verify.results import Result
from mta.verify.settings import VerifySettings

_T = TypeVar("_T")
_log = Logger()
_LATE = "DNS did not answer in time"


class Client(NamedTuple):
    """Who brings the message."""

    address: str
    sender: str  # of MAIL; "" is the null sender
    helo: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out; ``wish`` is the owner's where DMARC has failed.

    ``ambiguous`` says why nobody can tell whose wish would count: two readers see two authors.
    """

    results: tuple[Result, ...]
    wish: Policy = Policy.NONE
    ambiguous: str = ""

    def __str__(self) -> str:
        return " ".join(map(str, self.results)) or "nothing was looked at"


class Verifier:
    """Made once; ``settings`` is replaced by a reload."""

    def __init__(
        self, reactor: Any, lookup: Lookup, settings: VerifySettings | None, pool: Any = None
    ) -> None:
        """Without ``settings`` nothing is verified; ``pool`` stands for a ``ThreadPool``."""
        self.settings = settings
        self.lookup = lookup
        self.clock: IReactorTime = reactor
        self._reactor = reactor
        self._pool = pool or ThreadPool(0, 1, name="mta-verify")

    def start(self) -> None:
        """Start the pool; it makes its thread when there is work."""
        self._pool.start()

    def stop(self) -> None:
        """End the thread; blocks for what it is at: milliseconds."""
        self._pool.stop()

    def work(self, fn: Callable[..., _T], *args: Any) -> "Deferred[_T]":
        """Run ``fn`` in the thread."""
        return deferToThreadPool(self._reactor, self._pool, fn, *args)

    def begin(
        self, settings: VerifySettings, client: Client, header: bytes, now_s: float
    ) -> "Message":
        """Begin with a message; ``header`` as it came, to the CRLF of its last field."""
        return Message(self, settings, client, header, now_s)


class Message:
    """Feed it the body, then ask for the findings; or cancel it."""

    def __init__(
        self,
        verifier: Verifier,
        settings: VerifySettings,
        client: Client,
        header: bytes,
        now_s: float,
    ) -> None:
        self._verifier = verifier
        self._settings = settings
        self._author, self._unclear, self._ambiguous = _author(header)
        self._spf = self._dkim = self._keys = self._policy = None
        if settings.spf:
            self._spf = _begun(_spf(verifier, client))
        if settings.dkim:
            self._dkim = dkim.Verification(
                header, now_s=now_s, most=settings.signatures, first=self._author
            )
            names = [one.record_name for one in self._dkim.signatures]
            self._keys = [_begun(_key(verifier.lookup, name)) for name in names]
        if settings.dmarc and self._author:
            self._policy = _begun(_discovered(verifier.lookup, self._author))

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self._dkim is not None:
            self._dkim.feed(data)

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        for one in (self._spf, self._policy, *(self._keys or ())):
            if one is not None:
                one.addErrback(lambda _: None)
                one.cancel()

    async def findings(self) -> Findings:
        """Return what was found out, within the time that the settings allow."""
        until = self._verifier.clock.seconds() + self._settings.timeout_s
        results: list[Result] = []
        if self._spf is not None:
            results.append(await self._within(self._spf, until, Result("spf", "temperror")))
        if self._dkim is not None and self._keys is not None:
            keys = [await self._within(one, until, _LATE) for one in self._keys]
            results += await self._verifier.work(self._dkim.finish, keys)
        if not self._settings.dmarc:
            return Findings(tuple(results))
        verdict = await self._judged(results, until)
        ambiguous = self._unclear if self._ambiguous else ""
        return Findings((*results, verdict.result), verdict.wish, ambiguous)

    async def _judged(self, results: list[Result], until: float) -> dmarc.Verdict:
        about = (("header.from", self._author),) if self._author else ()
        if self._policy is None:
            return dmarc.Verdict(Result("dmarc", "permerror", about, self._unclear))
        late = dmarc.Verdict(Result("dmarc", "temperror", about, _LATE))
        found = await self._within(self._policy, until, None)
        if found is None:
            return late
        judging = _begun(_verdict(self._verifier.lookup, found, results))
        return await self._within(judging, until, None) or late

    async def _within(self, waited: "Deferred[_T]", until: float, otherwise: _T) -> _T:
        clock = self._verifier.clock
        try:
            return await waited.addTimeout(max(0.0, until - clock.seconds()), clock)
        except TimeoutError:
            return otherwise


def _author(header: bytes) -> tuple[str, str, bool]:
    """Return the domain that readers see, why it is unclear, if it is (RFC 9989 §5.3.1), and
    whether that is because there is more than one."""
    found = authors(header)
    if not found.fields:
        return "", "there is no From field", False
    if found.fields != 1:
        return "", "there are several From fields", True
    value = header[found.at :].partition(b":")[2]
    end = value.find(b"\r\n")
    while end >= 0 and value[end + 2 : end + 3] in (b" ", b"\t"):
        end = value.find(b"\r\n", end + 2)
    value = value if end < 0 else value[:end]
    if len(value) > LONGEST:
        return "", "From is too long to be read", True
    domains = author_domains(value)
    if len(domains) > 1:
        return "", "From has several domains", True
    if not domains or "." not in domains[0]:
        return "", "From has no domain", False
    return domains[0], "", False


def _begun(work: Coroutine[Any, Any, _T]) -> "Deferred[_T]":
    return Deferred.fromCoroutine(work)


async def _spf(verifier: Verifier, client: Client) -> Result:
    try:
        spf = await verifier.work(_spf_module)
        result: Result = await spf.check(verifier.work, verifier.lookup, *client)
    except CancelledError:
        raise
    except Exception:  # a stranger's record has found a fault in the library
        _log.failure("SPF of <{sender}> from {address}", **client._asdict())
        return Result("spf", "temperror")
    return result


def _spf_module() -> ModuleType:
    """Import what brings the library, in the thread: the first time takes its time."""
    from mta.verify import spf  # noqa: PLC0415 - who does not want SPF does not load it

    return spf


async def _key(lookup: Lookup, name: str) -> dkim.Records:
    try:
        return joined(await lookup.lookup(name, "TXT"))
    except NoSuchName:
        return ()
    except DnsTemporary:
        return "its key cannot be looked up"


async def _discovered(lookup: Lookup, domain: str) -> dmarc.Found | None:
    try:
        return await dmarc.discover(lookup, domain)
    except DnsTemporary:
        return None


async def _verdict(
    lookup: Lookup, found: dmarc.Found, results: list[Result]
) -> dmarc.Verdict | None:
    try:
        return await dmarc.judge(lookup, found, results)
    except DnsTemporary:
        return None
