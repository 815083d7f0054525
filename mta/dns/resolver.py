"""A stub resolver: asks the servers that it was given, remembers what they say.

Servers are asked in the order given; one that is silent stands back for half a minute, so
that a dead first server costs its time-out once and not at every question.  Aliases are
followed, in one answer or over several.  Answers are kept for their time to live, the
news that there is nothing for the time that the zone's SOA allows (RFC 2308), and what
failed is not asked again for a while (``failures``).

Trusts: the servers, in what they say; their word that an answer was validated (AD) only
where the configuration calls them validating.  ``/etc/hosts`` is not consulted.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from random import Random, SystemRandom

from twisted.internet.defer import Deferred, fail, succeed

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.cache import Cache
from mta.dns.exchange import Reactor, Server, exchange
from mta.dns.failures import Failures
from mta.dns.sharing import Sharing
from mta.dns.wire import (
    MAX_ALIASES,
    Absent,
    Finding,
    NoEdns,
    NotAName,
    ServerSilent,
    ServerUnreached,
    ServerUnusable,
    make_query,
    read_reply,
)

_STAND_BACK_S = 30.0
_CACHED_RECORDS = 100  # of one answer: ten thousand with 64 KiB each would be gigabytes


class Resolver:
    """Looks up names at a list of recursive DNS servers."""

    def __init__(
        self,
        reactor: Reactor,
        servers: Sequence[Server],
        *,
        timeout_s: float = 5.0,
        attempts: int = 3,
        validating: bool = False,
        cache_size: int = 10_000,
        random: Random | None = None,
    ) -> None:
        """Make a resolver; no socket is opened before the first question.

        ``servers`` are IP addresses with ports.  ``timeout_s`` is the wait for one
        server; ``attempts`` how often servers are asked before giving up, at least each
        of them once.  ``random`` must be unpredictable (RFC 5452); default SystemRandom.
        """
        if not servers:
            raise ValueError("no DNS server is given")
        self._reactor = reactor
        self._servers = [(ipaddress.ip_address(host).compressed, port) for host, port in servers]
        self._timeout_s = timeout_s
        self._attempts = max(attempts, len(servers))
        self._validating = validating
        self._random = random or SystemRandom()
        self._back_at: dict[Server, float] = {}
        self._cache: Cache[Answer | Absent] = Cache(reactor.seconds, cache_size)
        self._failures = Failures(reactor.seconds, cache_size)
        self._going: Sharing[Answer | Absent] = Sharing()

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Look up the records of type ``rdtype`` ("A", "MX", ...) of ``name``.

        Fails with ``NoSuchName`` or ``DnsTemporary``.  Never waits longer than
        attempts x (UDP + TCP time-out) for each alias on the way.
        """
        name, rdtype = name.lower().removesuffix("."), rdtype.upper()
        kept = self._cache.get((name, rdtype))
        if kept is not None:
            found, left = kept
            if isinstance(found, Absent):
                return fail(NoSuchName(name))
            return succeed(replace(found, ttl=max(1, int(left))))
        if (why := self._failures.lately((name, rdtype))) is not None:
            return fail(DnsTemporary(why))
        shared = self._going.join((name, rdtype), lambda: self._find(name, rdtype))
        return shared.addCallback(_exists, name)

    def lookup_anew(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Look up as ``lookup`` does, but nothing that was kept.  "." is the root."""
        name = name.lower()
        name = name if name == "." else name.removesuffix(".")
        found = Deferred.fromCoroutine(self._find(name, rdtype.upper()))
        return found.addCallback(_exists, name)

    async def _find(self, name: str, rdtype: str) -> Answer | Absent:
        """Find something, or nothing, and remember if there was no telling."""
        try:
            found = await self._follow(name, rdtype)
        except _NotAsked as error:  # our own fault is not the name's
            raise DnsTemporary(str(error)) from error
        except DnsTemporary as error:
            self._failures.add((name, rdtype), str(error))
            raise
        self._failures.forget((name, rdtype))
        return found

    async def _follow(self, name: str, rdtype: str) -> Answer | Absent:
        """Follow aliases over several answers until there is something, or nothing."""
        asked, target, ttl, authenticated = {name}, name, None, True
        while True:
            found = await self._ask(target, rdtype)
            ttl = found.ttl if ttl is None else min(ttl, found.ttl)
            if isinstance(found, Absent):
                found = Absent(ttl)
                break
            authenticated = authenticated and found.authenticated
            if isinstance(found, Answer):
                found = replace(found, ttl=ttl, authenticated=authenticated)
                break
            target = found.target
            if target in asked or len(asked) > MAX_ALIASES:
                raise DnsTemporary(f"{name} {rdtype}: a loop of aliases")
            asked.add(target)
        if isinstance(found, Absent) or len(found.records) <= _CACHED_RECORDS:
            self._cache.put((name, rdtype), found, found.ttl)
        return found

    async def _ask(self, name: str, rdtype: str) -> Finding:
        """Ask one server after the other until one has something to say."""
        failures: dict[str, None] = {}  # an ordered set
        asked = False
        servers = self._in_order()
        for attempt in range(self._attempts):
            server = servers[attempt % len(servers)]
            try:
                return await self._ask_server(server, name, rdtype)
            except NotAName:
                return Absent(0)
            except ServerUnusable as error:
                if isinstance(error, ServerSilent):
                    self._back_at[server] = self._reactor.seconds() + _STAND_BACK_S
                asked = asked or not isinstance(error, ServerUnreached)
                failures[f"{error} from {server[0]}"] = None
        why = f"{name} {rdtype}: {', '.join(failures)}"
        raise DnsTemporary(why) if asked else _NotAsked(why)

    async def _ask_server(self, server: Server, name: str, rdtype: str) -> Finding:
        try:
            return await self._exchange(server, name, rdtype, edns=True)
        except NoEdns:
            return await self._exchange(server, name, rdtype, edns=False)

    async def _exchange(self, server: Server, name: str, rdtype: str, *, edns: bool) -> Finding:
        query = make_query(
            name,
            rdtype,
            self._random.randrange(0x10000),
            validating=self._validating,
            edns=edns,
        )
        data = await exchange(
            self._reactor, server, query, timeout_s=self._timeout_s, random=self._random
        )
        return read_reply(query, data)

    def _in_order(self) -> list[Server]:
        """The servers as given, but those that were silent lately come last."""
        now = self._reactor.seconds()
        return sorted(self._servers, key=lambda one: max(0.0, self._back_at.get(one, 0.0) - now))


class _NotAsked(DnsTemporary):
    """No server was asked: there was no way to any, or no socket here."""


def _exists(found: Answer | Absent, name: str) -> Answer:
    if isinstance(found, Absent):
        raise NoSuchName(name)
    return found
