"""The HTTP listener: ``/metrics``, ``/healthz``, ``/readyz``; nothing can be changed by it.

Trusts whoever can connect: bind it to an address that only the monitor reaches.  It knows no
addresses and no logins.  What it knowingly does not do: TLS, authentication.
"""

from typing import Any

from prometheus_client.twisted import MetricsResource
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mta.metrics.watched import Watched

CONNECTIONS = 20
IDLE_S = 30


def site(watched: Watched) -> IProtocolFactory:
    """Return what the endpoint listens with."""
    root: Any = Resource()
    root.putChild(b"metrics", _Scrape(watched))
    root.putChild(b"healthz", _Health())  # type: ignore[no-untyped-call]
    root.putChild(b"readyz", _Ready(watched))
    quiet = _Quiet(root, timeout=IDLE_S)  # type: ignore[no-untyped-call]
    few: IProtocolFactory = _Few(quiet)  # type: ignore[no-untyped-call]
    return few


class _Few(WrappingFactory):
    """Hangs up on connections beyond ``CONNECTIONS``."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        """Make a session, or none."""
        if len(self.protocols) >= CONNECTIONS:
            return None
        return super().buildProtocol(addr)


class _Bodiless(Request):
    """A request that may not bring a body: nobody here reads one, and Twisted would store it."""

    def gotLength(self, length: int | None) -> None:
        """Hang up on a body, whatever its length."""
        super().gotLength(0)  # type: ignore[no-untyped-call]
        channel: Any = self.channel
        if length != 0 and channel is not None:
            channel.transport.abortConnection()


class _OneAnswer(HTTPChannel):
    """A connection for one request: who sends many and reads nothing does not fill our memory."""

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Close after this answer."""
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False


class _Quiet(Site):
    """Logs no requests: a monitor asks every few seconds."""

    noisy = False
    requestFactory = _Bodiless
    protocol = _OneAnswer  # type: ignore[assignment]  # a channel is one, too

    def log(self, request: Any) -> None:
        """Drop it."""


class _Health(Resource):
    """The process is there and its reactor turns, or nobody would answer."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Say so."""
        return _plain(request, "ok")


class _Asking(Resource):
    """Asks whether mail is taken, then answers."""

    isLeaf = True

    def __init__(self, watched: Watched) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watched = watched

    def render_GET(self, request: Request) -> int:
        """Answer when it is known; not at all if the monitor has gone."""
        asked = self._watched.ready()
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        asked.addCallback(lambda why: None if gone else self.answer(request, why))
        asked.addErrback(lambda failure: None if gone else _broken(request, failure))
        return NOT_DONE_YET

    def answer(self, request: Request, why: str) -> None:
        """Answer; ``why`` no mail is taken, or nothing."""
        raise NotImplementedError


class _Ready(_Asking):
    def answer(self, request: Request, why: str) -> None:
        if why:
            request.setResponseCode(503)
        request.write(_plain(request, f"not ready: {why}" if why else "ready"))
        request.finish()


class _Scrape(_Asking):
    """Sets the gauges here, in the reactor; the text is made in one of its threads."""

    def __init__(self, watched: Watched) -> None:
        super().__init__(watched)
        self._text: Any = MetricsResource(watched.families.registry)  # type: ignore[no-untyped-call]

    def answer(self, request: Request, why: str) -> None:
        self._watched.refresh()
        self._text.render(request)


def _plain(request: Request, text: str) -> bytes:
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Cache-Control", b"no-store")
    return f"{text}\n".encode()


def _broken(request: Request, failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        request.processingFailed(failure)
