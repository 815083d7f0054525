"""What submission would say to a message, for ``mta explain``: the session of a service, rehearsed.

The gate is that of a service, with what clients have used up as the spool has it.  Who brings the
message is said, or made up as whoever may bring it, and told with the answer.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.interfaces import IReactorTime

from mta.config import Settings, build
from mta.config.build_incoming import blocklists
from mta.config.build_milters import milter_settings
from mta.config.build_policy import policy
from mta.dns.mx import MailExchangers
from mta.dnsbl.zone import Blocklist
from mta.gate.gate import Gate
from mta.inbound.client import Client
from mta.inbound.rehearsal import Asked, Others, Submitted, rehearsed
from mta.inbound.settings import AuthMode, InboundSettings, ListenerSettings
from mta.mail.address import domain_of
from mta.milter.settings import MilterSettings
from mta.policy.addresses import Addresses
from mta.spool import policy as policy_rows
from mta.spool.errors import SpoolUnavailable

HERE = "127.0.0.1"
_ALL = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0")))


@dataclass(frozen=True, slots=True)
class Bringer:
    """Who brings the message, and where."""

    listener: ListenerSettings
    client: str  # IP address; "": somebody outside
    note: str = ""  # what was made up


class Accepting:
    """Rehearses acceptance."""

    def __init__(self, settings: Settings, tables: Addresses | None, spool: Any) -> None:
        """``spool`` is read and, if it is written to, does nothing."""
        self._settings = settings
        self._spool = spool
        self._inbound = build.inbound_settings(settings, tables)
        self.unread = ""  # why the spool cannot be asked

    def bringer(self, address: str, login: str, listener: str, client: str) -> Bringer:
        """Return who brings mail for ``address``; ``listener`` and ``client`` are "" or said.

        ``ValueError`` if there is no such listener.
        """
        found = self._inbound.listeners
        if listener:
            chosen = next((one for one in found if one.name == listener), None)
            if chosen is None:
                raise ValueError(f"there is no listener {listener}")
            return Bringer(chosen, client or HERE)
        if login:
            able = [one for one in found if one.auth is not AuthMode.NONE] or found
            return Bringer(able[0], client or HERE)
        tables = self._inbound.addresses
        ours = tables is not None and tables.local.ours(domain_of(address))
        if client or not ours:
            return _without_login(found, client)
        outside = [one for one in found if one.incoming]
        return Bringer(outside[0], "") if outside else _without_login(found, client)

    def lists(self, by: Bringer, login: str) -> list[Blocklist]:
        """Return the lists that the client would be looked up in."""
        here, client = by.listener, Client(by.client)
        if login or here.submission or here.auth is AuthMode.REQUIRED or client.trusted(here):
            return []
        return list(blocklists(self._settings))

    def filters(self, by: Bringer, login: str) -> list[MilterSettings]:
        """Return the filters that would see the message."""
        submission, name = by.listener.submission or bool(login), by.listener.name
        return [
            one
            for one in milter_settings(self._settings)
            if one.concerns(name, submission=submission)
        ]

    async def ask(
        self,
        clock: IReactorTime,
        exchangers: MailExchangers,
        destination: Callable[[str, str], str],
        by: Bringer,
        message: Asked,
        others: Others,
    ) -> Submitted:
        """Say what becomes of ``message``."""
        gate = Gate(
            clock, self._spool, exchangers, destination, policy(self._settings), lambda _: None
        )
        try:
            news = await self._spool.read(policy_rows.first, gate.now_ms())
        except SpoolUnavailable as error:
            self.unread, news = str(error), None
        gate.shared.know(news or policy_rows.NOTHING, gate.now_ms())
        settings: InboundSettings = replace(self._inbound, listeners=(by.listener,))
        return await rehearsed(clock, settings, by.listener, self._spool, gate, message, others)


def _without_login(found: tuple[ListenerSettings, ...], client: str) -> Bringer:
    """Return a client that may relay without a log-in: one that is, or one that is made up."""
    for one in found:
        if one.auth is AuthMode.REQUIRED:
            continue
        if client:
            return Bringer(one, client)
        if one.trusted:
            inside = any(ipaddress.ip_address(HERE) in network for network in one.trusted)
            return Bringer(one, HERE if inside else str(one.trusted[0][0]))
    if client or not found:
        made_up = found[0] if found else ListenerSettings("none", "")
        return Bringer(made_up, client or HERE)
    open_one = replace(found[0], auth=AuthMode.OPTIONAL, trusted=_ALL)
    note = "no listener takes mail for others without a log-in; taken as if one did (--login)"
    return Bringer(open_one, HERE, note)
