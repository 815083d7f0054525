"""From an address to a session that is ready for mail: TCP, TLS, greeting, EHLO, AUTH.

How private the session has to be is said by a ``Requirement``, and judged by ``mta.security``
once the handshake is over and before anything else is said.  Where TLS is not insisted on, and
STARTTLS does not work, the session goes on without, on a new connection (RFC 7435), and the
reason is kept in the connection's ``tls.why``.  Credentials go only to a smarthost that has
been verified.
"""

import errno
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from mta.delivery.connection import Connection
from mta.delivery.login import log_in
from mta.delivery.outgoing import Way
from mta.delivery.routes import Lmtp, Mx, Smarthost
from mta.delivery.settings import DeliverySettings
from mta.delivery.timeouts import Timeouts
from mta.delivery.token import Tokens
from mta.delivery.transcript import Recorder, told
from mta.delivery.trouble import Kind, Trouble
from mta.mail.security import Flaw, Requirement, Result
from mta.mail.value import value
from mta.security.judgement import in_the_clear, judge
from mta.smtp.replies import Reply
from mta.smtp.steps import STARTTLS, Stage, hello, parse_extensions
from mta.tls.level import ClientTls

_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # no fault of the site's

Reactor: TypeAlias = Any  # IReactorTCP and IReactorTime


@value
class Site:
    """A host and how it is talked to: connections to equal sites are interchangeable."""

    host: str
    target: Mx | Smarthost
    way: Way | None = None  # from where, and under which name; None: as it comes

    @property
    def port(self) -> int:
        """The TCP port."""
        return self.target.port

    def source(self, address: str) -> str:
        """Our own address for a connection to ``address``; "": whichever the system takes."""
        return self.way.source(address) if self.way is not None else ""

    @property
    def configured(self) -> bool:
        """Our configuration names the host, not the DNS: what is wrong with it is our fault."""
        return isinstance(self.target, Smarthost)

    @property
    def lmtp(self) -> bool:
        """It is talked to in LMTP (RFC 2033)."""
        return isinstance(self.target, Lmtp)

    @property
    def socket(self) -> str:
        """Path of its unix socket, or ""."""
        return self.host if self.host.startswith("/") else ""

    @property
    def implicit_tls(self) -> bool:
        """TLS from the first octet (RFC 8314 §3.3)."""
        return self.target.tls == "implicit"


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        timeouts: Timeouts,
        address: str,
        record: Recorder | None,
        *,
        lmtp: bool,
    ) -> None:
        self._arguments = (reactor, timeouts, address, record)
        self._lmtp = lmtp

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return Connection(*self._arguments, lmtp=self._lmtp)


class Opening:
    """Opens sessions.  ``dismiss`` takes connections that are not wanted any more."""

    def __init__(
        self, reactor: Reactor, tls: ClientTls, dismiss: Callable[[Connection], None]
    ) -> None:
        self._reactor = reactor
        self.tls = tls
        self.tokens: Tokens | None = None  # of smarthosts; who joins the parts sets it
        self.counting = False  # sessions are counted, and what that takes is to be remembered
        self._dismiss = dismiss

    async def open(
        self,
        site: Site,
        address: str,
        settings: DeliverySettings,
        requirement: Requirement,
        record: Recorder | None = None,
    ) -> Connection:
        """Return a connection that MAIL can be sent on; ``record`` hears.  Raises ``Trouble``."""
        try:
            return await self._session(site, address, settings, requirement, record)
        except Trouble as trouble:
            starttls = trouble.command == Stage.STARTTLS.value and trouble.kind is not Kind.ATTACK
            if not starttls or not requirement.uses_tls or requirement.insists:
                raise
            why = f"STARTTLS failed: {trouble}"
            flaw = Flaw(trouble.result or Result.VALIDATION_FAILURE, str(trouble))
        if record is not None:
            record.fails("once more without STARTTLS, which may be used and need not be")
        connection = await self._session(site, address, settings, requirement, record, plain=why)
        connection.flaw = flaw
        return connection

    async def _session(
        self,
        site: Site,
        address: str,
        settings: DeliverySettings,
        requirement: Requirement,
        record: Recorder | None,
        *,
        plain: str = "",
    ) -> Connection:
        """``plain``: why TLS is not tried (again)."""
        connection = await self._connect(site, address, settings.timeouts, record)
        connection.requirement = requirement
        if self.counting:
            transport: Any = connection.transport
            connection.local = getattr(transport.getHost(), "host", "")
        name = (site.way.ehlo if site.way is not None else "") or settings.host_name
        try:
            if site.implicit_tls:
                await self._shake_hands(connection, site)
            connection.greeted = await connection.greeting()
            _require(connection.greeted, Stage.GREETING)
            await _hello(connection, name)
            if not site.implicit_tls:
                await self._privacy(connection, site, name, plain)
            if isinstance(site.target, Smarthost) and site.target.login:
                await log_in(connection, site.target, self.tokens)
        except Trouble as trouble:
            trouble.local, trouble.greeted = connection.local, connection.greeted
            self._dismiss(connection)
            raise
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connect(
        self, site: Site, address: str, timeouts: Timeouts, record: Recorder | None
    ) -> Connection:
        if record is not None:
            where = site.socket or f"{site.host}[{address}]:{site.port}"
            source = site.source(address)
            record.note(f"connect to {where}{f' from {source}' if source else ''}")
        endpoint = self._endpoint(site, address, timeouts.connect)
        factory = _ConnectionFactory(self._reactor, timeouts, address, record, lmtp=site.lmtp)
        try:
            connection = await endpoint.connect(factory)
        except ConnectingCancelledError:
            raise CancelledError from None  # Twisted's other way of saying the same
        except (ConnectError, OSError) as error:
            if _number(error) in _OURS:
                raise OSError(_number(error), "no connection can be opened here") from None
            if isinstance(error, ConnectBindError) and (source := site.source(address)):
                text = f"no connection can be made from {source}: {error.args[0]}"
                raise Trouble(Kind.SOURCE, "connect", text) from None
            where = f"{address} port {site.port}" if address else site.socket
            text = f"connect to {where}: {str(error).rstrip('.')}"
            trouble = Trouble(Kind.CONNECT, "connect", text)
            trouble.reached = isinstance(error, ConnectionRefusedError) if address else None
            raise trouble from None
        assert isinstance(connection, Connection)
        return connection

    def _endpoint(self, site: Site, address: str, timeout_s: float) -> IStreamClientEndpoint:
        if site.socket:
            return UNIXClientEndpoint(self._reactor, site.socket, timeout=timeout_s)
        endpoint_type = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        source = site.source(address)
        bind = (source, 0) if source else None
        return endpoint_type(self._reactor, address, site.port, timeout=timeout_s, bindAddress=bind)

    async def _privacy(
        self, connection: Connection, site: Site, host_name: str, plain: str
    ) -> None:
        """Say STARTTLS, or go on in the clear where that is allowed."""
        requirement = connection.requirement
        if not requirement.uses_tls or plain:
            connection.tls = in_the_clear(requirement, plain)
        elif connection.client.extensions.starttls:
            _require(await connection.command(STARTTLS), Stage.STARTTLS)
            await self._shake_hands(connection, site)
            await _hello(connection, host_name)
        elif requirement.insists:
            text = "TLS is required and the peer does not offer STARTTLS"
            result = Result.STARTTLS_NOT_SUPPORTED
            raise Trouble(Kind.TLS, Stage.STARTTLS, text, result=result)
        else:
            why = "STARTTLS is not offered"
            connection.tls = in_the_clear(requirement, why)
            connection.flaw = Flaw(Result.STARTTLS_NOT_SUPPORTED, why)

    async def _shake_hands(self, connection: Connection, site: Site) -> None:
        host = site.host.strip("[]").removeprefix("ipv6:")
        requirement = connection.requirement
        identity = site.target.identity if isinstance(site.target, Smarthost) else None
        shown = await connection.start_tls(self.tls.creator(host, requirement, identity))
        connection.tls, flaw = judge(requirement, shown)
        connection.flaw = flaw
        if connection.record is not None:
            connection.record.note(told(connection.tls))
        if flaw is not None and requirement.insists:
            command = "connect" if site.implicit_tls else Stage.STARTTLS
            text = f"{requirement.level.value} is required: {flaw.text}"
            trouble = Trouble(Kind.TLS, command, text, result=flaw.result)
            trouble.tls = connection.tls
            raise trouble


def _number(error: Exception) -> int | None:
    """Return the kernel's error number; Twisted keeps it in an exception of its own."""
    return error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)


def _require(reply: Reply, stage: Stage) -> None:
    """Obey the first digit (RFC 5321 §4.2.1)."""
    if not 200 <= reply.code < 300:
        result = Result.STARTTLS_NOT_SUPPORTED if stage is Stage.STARTTLS else None
        raise Trouble(Kind.REFUSED, stage, reply.text, reply, result)


async def _hello(connection: Connection, host_name: str) -> None:
    if connection.client.lmtp:
        reply = await connection.command(hello(host_name, lmtp=True))
        _require(reply, Stage.LHLO)
        connection.client.extensions = parse_extensions(reply)
        return
    reply = await connection.command(hello(host_name))
    if reply.permanent:
        _require(await connection.command(hello(host_name, extended=False)), Stage.HELO)
        return
    _require(reply, Stage.EHLO)
    connection.client.extensions = parse_extensions(reply)
