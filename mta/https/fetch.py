"""One document over HTTPS: octets and time are bounded, and as a rule the certificate must verify.

No redirects, no cookies, no caches, no compression: what is wanted is small, and stands at a
known place.  An answer that does not say where it ends is refused, because then anybody on the
way could cut it.

Trusts: the authorities in ``ClientTls``, and only them: where the server is may come from
unsigned DNS.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Receiver
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from mta.mail.security import Level, Requirement, Result
from mta.tls.level import ClientTls
from mta.tls.reasons import VerificationFailed, is_tls_failure, printable, tls_reason

Addresses: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

_MOST_ADDRESSES = 4
_HEAD = 64 * 1024  # octets for status line, header and framing of the answer


class FetchFailed(Exception):
    """There is no answer; one line.

    ``result`` is the certificate's fault in the words of TLS reports, None if it has none.
    """

    def __init__(self, text: str, result: Result | None = None) -> None:
        super().__init__(text)
        self.result = result


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server has said; of anything but a 200 there is no body, but to a form."""

    status: int
    content_type: str  # as the server wrote it; "" if it wrote none
    body: bytes


class Fetcher:
    """Gets documents."""

    def __init__(
        self,
        reactor: Any,
        tls: ClientTls,
        *,
        largest: int,
        timeout_s: float,
        addresses: Addresses | None = None,
        port: int | None = None,
        verified: bool = True,
    ) -> None:
        """``largest`` is of a body, in octets; ``timeout_s`` is for all together.

        ``addresses`` finds the addresses of a host (without it the system does); ``port`` is
        dialled instead of the URL's.  Without ``verified`` any certificate will do.
        """
        self._reactor = reactor
        self.tls = tls
        self._largest = largest
        self._timeout_s = timeout_s
        self._addresses = addresses
        self._port = port
        self._requirement = Requirement(Level.VERIFY if verified else Level.ENCRYPT)

    async def get(self, url: str) -> Answer:
        """Return what is at ``url``; raises ``FetchFailed``."""
        return await self._ask(b"GET", url, Headers({b"User-Agent": [b"mta"]}))

    async def post(self, url: str, body: bytes, content_type: str) -> Answer:
        """Post ``body`` to ``url`` and return what was said, without a body.

        Raises ``FetchFailed``.
        """
        kind = content_type.encode("ascii")
        headers = Headers({b"User-Agent": [b"mta"], b"Content-Type": [kind]})
        return await self._ask(b"POST", url, headers, _Whole(body))

    async def submit(self, url: str, form: bytes, authorization: str = "") -> Answer:
        """Post an encoded form, and return what was said, with its body whatever the status.

        ``authorization`` is the header of that name, "" for none.  Raises ``FetchFailed``.
        """
        kind = b"application/x-www-form-urlencoded"
        headers = Headers({b"User-Agent": [b"mta"], b"Content-Type": [kind]})
        headers.addRawHeader(b"Accept", b"application/json")
        if authorization:
            headers.addRawHeader(b"Authorization", authorization.encode("ascii"))
        return await self._ask(b"POST", url, headers, _Whole(form, answered=True))

    async def _ask(
        self, method: bytes, url: str, headers: Headers, content: "_Whole | None" = None
    ) -> Answer:
        ends = _Endpoints(self._endpoint, self._largest + _HEAD)
        work = Deferred.fromCoroutine(self._exchange(method, url, headers, content, ends))
        work.addTimeout(self._timeout_s, self._reactor)
        try:
            return await work
        except (CancelledError, FetchFailed):
            raise
        except TimeoutError:
            raise FetchFailed(f"no answer within {self._timeout_s:g} s") from None
        except Exception as error:
            raise _explained(error) from error
        finally:
            ends.abort()

    async def _exchange(
        self,
        method: bytes,
        url: str,
        headers: Headers,
        content: "_Whole | None",
        ends: "_Endpoints",
    ) -> Answer:
        agent = Agent.usingEndpointFactory(self._reactor, ends)
        request: Any = agent.request(method, url.encode("ascii"), headers, content)
        try:
            response: IResponse = await request
        except Exception as error:
            if any(reason.check(CancelledError) for reason in getattr(error, "reasons", ())):
                raise CancelledError from error  # Twisted's other way of saying the same
            raise
        told: Any = response.headers.getRawHeaders(b"content-type", [b""])
        content_type = printable(told[0].decode("latin-1"))
        wanted = response.code == 200 if content is None else content.answered
        if not wanted:
            return Answer(response.code, content_type, b"")
        body = _Body(self._largest)
        response.deliverBody(body)
        return Answer(response.code, content_type, await body.whole)

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        if uri.scheme != b"https":
            raise FetchFailed("only HTTPS is spoken here")
        host, port = uri.host.decode("ascii"), self._port or uri.port
        inner: Any
        if self._addresses is None:
            inner = HostnameEndpoint(self._reactor, host, port, timeout=self._timeout_s)
        else:
            inner = _InTurn(self._reactor, host, port, self._addresses, self._timeout_s)
        creator = self.tls.creator(host, self._requirement)
        endpoint: IStreamClientEndpoint = wrapClientTLS(creator, inner)
        return endpoint


def _explained(error: BaseException) -> FetchFailed:
    """Say what was the matter: Twisted has it in lists of failures inside of failures."""
    reasons: list[Failure] = getattr(error, "reasons", None) or []
    for reason in reasons:
        inner: Any = reason.value
        found = _explained(inner)
        if found.result is not None or is_tls_failure(inner) or len(reasons) == 1:
            return found
    if isinstance(error, VerificationFailed):
        return FetchFailed(str(error), error.result)
    if is_tls_failure(error):
        return FetchFailed(f"TLS: {tls_reason(error)}")
    text = printable(str(error).strip().rstrip("."))
    return FetchFailed(text or type(error).__name__)


@implementer(IBodyProducer)
class _Whole:
    """What is posted, all at once: it is small."""

    def __init__(self, octets: bytes, *, answered: bool = False) -> None:
        """``answered``: the body of the answer is wanted."""
        self.length = len(octets)
        self.answered = answered
        self._octets = octets

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._octets)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing more to come."""

    def resumeProducing(self) -> None:
        """There is nothing more to come."""

    def stopProducing(self) -> None:
        """There is nothing more to come."""


class _Body(Receiver):
    """The body of an answer, up to a size."""

    def __init__(self, largest: int) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._largest = largest
        self._pieces: list[bytes] = []
        self._octets = 0

    def dataReceived(self, data: bytes) -> None:
        self._octets += len(data)
        if self._octets <= self._largest:
            self._pieces.append(data)
        else:
            self._end(FetchFailed(f"the answer is larger than {self._largest} octets"))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if not reason.check(ResponseDone):
            self._end(FetchFailed("the answer is incomplete"))
        elif not self.whole.called:
            self.whole.callback(b"".join(self._pieces))

    def _end(self, error: FetchFailed) -> None:
        self._pieces.clear()
        if not self.whole.called:
            self.whole.errback(error)


@implementer(IStreamClientEndpoint)
class _InTurn:
    """A host's addresses as our own resolver gives them, one after the other."""

    def __init__(
        self, reactor: Any, host: str, port: int, addresses: Addresses, timeout_s: float
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._addresses = addresses
        self._timeout_s = timeout_s / _MOST_ADDRESSES

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> IProtocol:
        failed = f"{self._host} has no address"
        for address in (await self._addresses(self._host))[:_MOST_ADDRESSES]:
            kind: Any = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint = kind(self._reactor, address, self._port, timeout=self._timeout_s)
            try:
                protocol: IProtocol = await endpoint.connect(factory)
            except ConnectingCancelledError:
                raise CancelledError from None  # Twisted's other way of saying the same
            except (ConnectError, OSError) as error:
                failed = f"connect to {address} port {self._port}: {str(error).rstrip('.')}"
            else:
                return protocol
        raise FetchFailed(failed)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Endpoints:
    """The one connection of a fetch, on which no more than ``most`` octets are heard.

    The agent itself sets no bound to headers.
    """

    def __init__(self, endpoint: Callable[[URI], IStreamClientEndpoint], most: int) -> None:
        self._endpoint = endpoint
        self._chosen: Any = None
        self._left = most
        self._protocol: Any = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        self._chosen = self._endpoint(uri)
        return self

    def connect(self, factory: Any) -> Any:
        return self._chosen.connect(_Built(factory, self._built))

    def abort(self) -> None:
        """End the connection, if there is one."""
        transport = getattr(self._protocol, "transport", None)
        if transport is not None:
            transport.abortConnection()

    def _built(self, protocol: Any) -> None:
        self._protocol, received = protocol, protocol.dataReceived

        def counted(data: bytes) -> None:
            self._left -= len(data)
            if self._left >= 0:
                received(data)
            else:
                self.abort()

        vars(protocol)["dataReceived"] = counted


class _Built(Factory):
    """Tells of the protocol that another factory builds."""

    noisy = False

    def __init__(self, factory: Any, built: Callable[[Any], None]) -> None:
        self._factory = factory
        self._built = built

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self._factory.buildProtocol(addr)
        self._built(protocol)
        return protocol
