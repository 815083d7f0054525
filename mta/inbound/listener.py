"""What stands behind the listening ports: sessions made, counted, and ended with the service.

``Inbound`` is what the composition root builds.  It binds nothing itself: ``factory`` gives
what an endpoint's ``listen`` takes.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from mta.dkim.signer import Signer
from mta.dnsbl.lists import Lists
from mta.inbound.behind_proxy import Door
from mta.inbound.client import Client, client_of
from mta.inbound.gate import Gate, Open
from mta.inbound.reception import Credentials, Reception, Writes, wall_ms
from mta.inbound.session import SHUTDOWN, Session
from mta.inbound.settings import (
    AuthMode,
    InboundSettings,
    ListenerSettings,
    SessionLimits,
    TlsMode,
)
from mta.mail.envelope import Origin
from mta.mail.events import Emit, Refused
from mta.milter.milters import Milters
from mta.policy.matching import network_of
from mta.smtp.extensions import ServerSettings
from mta.smtp.replies import Reply, reply
from mta.smtp.requests import Offer
from mta.spool.intake import Handover
from mta.tls.certificates import ServerCertificates
from mta.tls.prompt import PromptTls
from mta.verify.message import Verifier

TOO_MANY = reply(421, "4.7.0", "Too many connections; try again later")
BUSY = reply(421, "4.3.2", "Too busy; try again later")
TOO_MANY_OF_YOURS = reply(421, "4.7.0", "Too many connections from your address; try again later")
_TURNED_AWAY = 100  # connections that are told to go at the same time, before we only hang up


class SessionFactory(Factory):
    """Makes the sessions of one listener."""

    noisy = False

    def __init__(self, reception: Reception, listener: ListenerSettings) -> None:
        self.listener = listener
        self.sessions: set[Session] = set()
        self._by_client: Counter[str] = Counter()
        self._turned_away: set[Session] = set()
        self._ended: Callable[[], None] = lambda: None
        self._reception = reception
        self._core: tuple[InboundSettings, ListenerSettings, ServerSettings] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Session:
        """Make a session, or one that says no."""
        client = client_of(addr)
        listener, reception = self.listener, self._reception
        core = self._core_settings(client)
        session = Session(reception, listener, core, client, self._introduce, self._forget)
        session.refusal, reason = self._refusal(client), "connection limit"
        if session.refusal is None and (unwelcome := session.unwelcome) is not None:
            session.refusal, reason = unwelcome.reply, unwelcome.reason
        if session.refusal is None:
            self.sessions.add(session)
            self._count(session)
        else:
            self._turn_away(session, reason)
        return session

    @property
    def _limits(self) -> SessionLimits:
        return self._reception.settings.limits

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have ``call`` called whenever a session has ended."""
        self._ended = call

    def _core_settings(self, client: Client) -> ServerSettings:
        """Return what the core is told: all clients share it, but for those that are proxies."""
        listener, reception, made = self.listener, self._reception, self._core
        if listener.xclient:
            return core_settings(reception, listener, client)
        if made is None or made[0] is not reception.settings or made[1] is not listener:
            core = core_settings(reception, listener, client)
            self._core = made = (reception.settings, listener, core)
        return made[2]

    def _refusal(self, client: Client) -> Reply | None:
        if self._reception.closing:
            return SHUTDOWN
        if len(self.sessions) >= self._limits.connections:
            return TOO_MANY
        if self._reception.crowded is not None and self._reception.crowded():
            return BUSY
        return None if client.may_introduce(self.listener) else self._too_many(client)

    def _too_many(self, client: Client) -> Reply | None:
        if self._by_client[self._key(client)] < self._limits.connections_per_client:
            return None
        return None if client.trusted(self.listener) else TOO_MANY_OF_YOURS

    def _introduce(self, session: Session, client: Client) -> Reply | None:
        """Count a session for another client from now on, unless that has too many."""
        refusal = self._too_many(client)
        if refusal is None:
            self._uncount(session)
            session.client = client
            self._count(session)
        return refusal

    def _key(self, client: Client) -> str:
        return network_of(client.host, 32, self._limits.ipv6_prefix)

    def _count(self, session: Session) -> None:
        session.counted = self._key(session.client)
        self._by_client[session.counted] += 1

    def _uncount(self, session: Session) -> None:
        self._by_client[session.counted] -= 1
        if not self._by_client[session.counted]:
            del self._by_client[session.counted]

    def _turn_away(self, session: Session, reason: str) -> None:
        answer = session.refusal
        assert answer is not None
        self._turned_away.add(session)
        session.hang_up = len(self._turned_away) > _TURNED_AWAY
        origin = Origin(
            listener=self.listener.name,
            client_address=session.client.host,
            proxy=session.client.proxy,
        )
        text = f"{answer.code} {answer.enhanced} {answer.text}"
        self._reception.emit(Refused(origin, "connect", text, reason))

    def _forget(self, session: Session) -> None:
        self._turned_away.discard(session)
        if session in self.sessions:
            self.sessions.remove(session)
            self._uncount(session)
        self._ended()


class Inbound:
    """All listeners of the service."""

    def __init__(  # noqa: PLR0913 - the composition root names every part it joins
        self,
        reactor: IReactorTime,
        settings: InboundSettings,
        *,
        database: Writes,
        handover: Handover,
        accounts: Credentials | None,
        certificates: ServerCertificates | None,
        emit: Emit,
        now_ms: Callable[[], int] = wall_ms,
        signer: Signer | None = None,
        gate: Gate | None = None,
        lists: Lists | None = None,
        verifier: Verifier | None = None,
        room: Callable[[int], bool] | None = None,
        crowded: Callable[[], bool] | None = None,
    ) -> None:
        """``accounts`` and ``certificates`` may be None where no listener needs them."""
        self._reception = Reception(
            reactor,
            settings,
            database,
            handover,
            accounts,
            certificates,
            emit,
            now_ms,
            signer,
            gate or Open(),
            lists,
            verifier,
            room=room,
            crowded=crowded,
        )
        self._factories: list[SessionFactory] = []
        self._doors: list[Door] = []
        self._ended: Deferred[None] | None = None

    def factory(self, listener: ListenerSettings) -> IProtocolFactory:
        """Return what makes the sessions of ``listener``."""
        certificates = self._reception.certificates
        if listener.tls is not TlsMode.NONE and certificates is None:
            raise ValueError(f"listener {listener.name} needs a certificate")
        logs_in = listener.auth is not AuthMode.NONE or listener.xclient_login
        if logs_in and self._reception.accounts is None:
            raise ValueError(f"listener {listener.name} needs accounts")
        factory = SessionFactory(self._reception, listener)
        factory.when_ended(self._look_for_the_end)
        self._factories.append(factory)
        inside = factory if listener.tls is not TlsMode.IMPLICIT else self._in_tls(factory)
        door = Door(self._reception, inside, lambda: factory.listener)
        self._doors.append(door)
        return door

    def _in_tls(self, factory: SessionFactory) -> IProtocolFactory:
        certificates = self._reception.certificates
        assert certificates is not None
        clock: Any = self._reception.clock
        options = certificates.options(lambda: factory.listener.client_certificates)
        wrapped = TLSMemoryBIOFactory(options, False, factory, clock)
        wrapped.protocol = PromptTls  # the default holds small writes back for a turn
        wrapped.noisy = False
        return wrapped

    @property
    def sessions(self) -> int:
        """How many there are."""
        return sum(len(factory.sessions) for factory in self._factories)

    @property
    def by_listener(self) -> dict[str, int]:
        """How many there are at each listener."""
        return {one.listener.name: len(one.sessions) for one in self._factories}

    @property
    def closing(self) -> bool:
        """Whether the service stops: nobody new is let in."""
        return self._reception.closing

    def use(self, settings: InboundSettings) -> None:
        """Take new settings, for sessions that begin from now on.

        Listeners are known by their names; what can't change without binding anew (the
        endpoint, implicit TLS or not) stays as it was.
        """
        self._reception.settings = settings
        by_name = {listener.name: listener for listener in settings.listeners}
        for factory in self._factories:
            new = by_name.get(factory.listener.name, factory.listener)
            implicit = TlsMode.IMPLICIT
            if (new.tls is implicit) == (factory.listener.tls is implicit):
                factory.listener = new

    def filter(self, milters: Milters | None) -> None:
        """Have the mail of sessions to come shown to filters."""
        self._reception.milters = milters

    def shutdown(self, grace_s: float) -> Deferred[None]:
        """End all sessions; fires when they have ended.

        The idle ones are told 421 at once, a message that is arriving may be finished within
        ``grace_s`` seconds.  The ports are to be closed before.
        """
        self._reception.closing = True
        for door in self._doors:
            door.shut_down()
        for session in self._all():
            session.shut_down()
        if not self._all():
            return succeed(None)
        self._ended = Deferred()
        late = self._reception.clock.callLater(grace_s, self._abort)
        return self._ended.addBoth(lambda _: late.cancel() if late.active() else None)

    def _abort(self) -> None:
        for session in self._all():
            session.abort()

    def _all(self) -> list[Session]:
        return [session for factory in self._factories for session in factory.sessions]

    def _look_for_the_end(self) -> None:
        if self._ended is not None and not self._all():
            ended, self._ended = self._ended, None
            ended.callback(None)


def core_settings(
    reception: Reception, listener: ListenerSettings, client: Client
) -> ServerSettings:
    """Return what the protocol's core is told of ``listener`` and ``client``."""
    limits, requests = reception.settings.limits, reception.settings.requests
    # RFC 4865 §4.2 (2): never but where mail is submitted
    submission = listener.submission or listener.auth is AuthMode.REQUIRED
    return ServerSettings(
        host_name=reception.settings.host_name,
        message_size=limits.message_size,
        recipients=limits.recipients,
        starttls=listener.tls is TlsMode.STARTTLS,
        auth=listener.auth is not AuthMode.NONE,
        mechanisms=listener.mechanisms,
        errors=limits.errors,
        idle_commands=limits.idle_commands,
        requests=Offer(
            requests.future_release_s if submission else 0,
            requests.deliver_by_s,
            requests.priority is not None,
            reception.now_ms,
        ),
        xclient=client.attributes(listener) if listener.xclient else (),
    )
