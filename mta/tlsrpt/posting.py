"""Reports are posted to HTTPS servers (RFC 8460 §5.4), wherever those are, but not inside.

Where to is written by whoever owns a domain that mail of ours went to.  So addresses that are not
of the public Internet are not dialled unless the settings allow it, redirects are not
followed, and octets and time are bounded.  The name is looked up here and what was found is
dialled, so that no second answer of the DNS leads elsewhere.

A certificate that does not verify is no reason not to report (RFC 8460 §3, §7): who could sit in
between could as well make the TXT record vanish, and what is broken there may be broken for the
same reason that TLS is.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from mta.dns.answers import DnsTemporary
from mta.dns.mx import NoUsableHost
from mta.tls.level import ClientTls
from mta.tlsrpt.ways import NotTaken

TIMEOUT_S = 30.0
_CONTENT_TYPE = "application/tlsrpt+gzip"

Addresses: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


class Posting:
    """Implements ``mta.tlsrpt.ways.Post``; ``tls`` and ``private`` are replaced by a reload."""

    def __init__(
        self, reactor: Any, tls: ClientTls, addresses: Addresses, *, private: bool
    ) -> None:
        """``addresses`` finds those of a host; ``private`` ones are dialled only if that is set."""
        self.tls = tls
        self.private = private
        self._reactor = reactor
        self._addresses = addresses

    async def __call__(self, url: str, body: bytes) -> str:
        """Post a report; return what was answered, or raise ``NotTaken``."""
        from mta.https.fetch import Fetcher, FetchFailed  # noqa: PLC0415 - heavy, rarely needed

        fetcher = Fetcher(
            self._reactor,
            self.tls,
            largest=0,
            timeout_s=TIMEOUT_S,
            addresses=self._reachable,
            verified=False,
        )
        try:
            answer = await fetcher.post(url, body, _CONTENT_TYPE)
        except FetchFailed as error:
            raise NotTaken(str(error)) from error
        if not 200 <= answer.status < 300:
            raise NotTaken(f"HTTP status {answer.status}")
        return f"HTTP status {answer.status}"

    async def _reachable(self, host: str) -> Sequence[str]:
        """Return the addresses of a host that may be dialled; raises what a fetch fails with."""
        from mta.https.fetch import FetchFailed  # noqa: PLC0415

        host = host.strip("[]")
        try:
            found: Sequence[str] = (str(ipaddress.ip_address(host)),)
        except ValueError:
            try:
                found = await self._addresses(host)
            except (DnsTemporary, NoUsableHost) as error:
                raise FetchFailed(f"DNS: {error}") from error
        if self.private:
            return found
        public = [one for one in found if is_public(one)]
        if not public:
            raise FetchFailed(f"{host} is not on the public Internet ({', '.join(found[:3])})")
        return public


def is_public(text: str) -> bool:
    """Tell whether an IP address, and whatever is inside it, is one of the Internet at large."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(one is None or is_public(str(one)) for one in inside):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
