"""What ``mta sts`` asks the world: DNS, and policy hosts, with the service's own means."""

from dataclasses import dataclass
from typing import Any

from mta.admin.asking import resolver, run
from mta.config import Settings
from mta.config.build_tls import client_tls
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailExchangers, MailLoop, NoSuchDomain, NullMx
from mta.sts.discovery import find
from mta.sts.fetch import NoPolicy, PolicyFetch
from mta.sts.policy import Policy


@dataclass(frozen=True, slots=True)
class Seen:
    """What the DNS says now."""

    record: str  # in words
    hosts: tuple[str, ...] = ()
    trouble: str = ""  # why there are no hosts


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a fetch."""

    id: str = ""
    policy: Policy | None = None
    trouble: str = ""
    result: str = ""  # of the fetch, in a word of TLS reports; "" if there was none


def published(settings: Settings, domain: str) -> Seen:
    """Return what the DNS says of a domain's policy and its mail exchangers."""

    async def question(reactor: Any) -> Seen:
        asked = resolver(reactor, settings)
        record = await find(asked, domain)
        words = record.unknown or ("none" if record.id is None else f"id {record.id}")
        try:
            found = await MailExchangers(asked, frozenset()).hosts(domain)
        except (DnsTemporary, NoSuchDomain, NullMx, MailLoop) as error:
            return Seen(words, trouble=str(error))
        return Seen(words, tuple(host.name for host in found))

    return run(question)


def fetched(settings: Settings, domain: str) -> Fetched:
    """Fetch a policy as the service does, whatever was tried a moment ago."""

    async def question(reactor: Any) -> Fetched:
        asked = resolver(reactor, settings)
        record = await find(asked, domain)
        if record.id is None:
            return Fetched(trouble=record.unknown or f"{domain} has no TXT record of MTA-STS")
        addresses = MailExchangers(asked, frozenset()).addresses
        try:
            policy = await PolicyFetch(reactor, client_tls(settings), addresses)(domain)
        except NoPolicy as error:
            return Fetched(record.id, trouble=str(error), result=error.result.value)
        return Fetched(record.id, policy)

    return run(question)
