"""What the inbound side can be told: listeners, limits, who is trusted.

Frozen values; a reload of the configuration makes new ones (``Inbound.use``).  Sessions
keep the settings that they began with.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mta.policy.addresses import Addresses
from mta.policy.matching import ip_of
from mta.smtp.mechanisms import PASSWORDS
from mta.tls.clients import ClientCertificates

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MEBIBYTE = 1024 * 1024


class TlsMode(StrEnum):
    """When TLS begins on a listener."""

    IMPLICIT = "implicit"  # from the first octet (RFC 8314 §3.3): port 465
    STARTTLS = "starttls"  # offered in the clear (RFC 3207): ports 587 and 25
    NONE = "none"


class AuthMode(StrEnum):
    """Whether clients prove who they are.  There is never AUTH without TLS."""

    REQUIRED = "required"  # 530 at MAIL, trusted networks included
    OPTIONAL = "optional"
    NONE = "none"


def within(address: str, networks: Iterable[Network]) -> bool:
    """Tell whether ``address`` lies in one of ``networks``."""
    ip = ip_of(address)  # None for a UNIX socket, a test: nobody is trusted by accident
    return ip is not None and any(ip in network for network in networks)


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One place that clients connect to."""

    name: str  # unique; what the log and the trace call it
    endpoint: str  # Twisted endpoint string: "tcp:465:interface=192.0.2.1"
    tls: TlsMode = TlsMode.IMPLICIT
    auth: AuthMode = AuthMode.REQUIRED
    trusted: tuple[Network, ...] = ()  # clients from here relay without AUTH
    submission: bool = False  # all mail here is new: Date and Message-ID are added (RFC 6409 §8)
    mechanisms: tuple[str, ...] = PASSWORDS  # of AUTH, in the order in which they are offered
    client_certificates: ClientCertificates = ClientCertificates.NONE
    incoming: bool = False  # mail for domains of ours is taken from everybody
    proxy: tuple[Network, ...] = ()  # peers that say with a PROXY header whose connection it is
    xclient: tuple[Network, ...] = ()  # peers that may say so with XCLIENT
    xclient_login: bool = False  # its LOGIN too

    def trusts(self, address: str) -> bool:
        """Tell whether ``address`` lies in a trusted network."""
        return within(address, self.trusted)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How much a client may take.  Sizes in octets, times in seconds."""

    message_size: int = 50 * MEBIBYTE  # as announced with SIZE (RFC 1870)
    recipients: int = 1000  # of one message; more are 452 4.5.3 (RFC 5321 §4.5.3.1.10)
    header_size: int = 128 * 1024  # octets of the header, ours not counted; at most 192 KiB
    hops: int = 100  # Received fields; more is a loop, 554 5.4.6 (RFC 5321 §6.3)
    connections: int = 1000  # of one listener
    connections_per_client: int = 50  # of one address at one listener; trusted ones are exempt
    ipv6_prefix: int = 64  # so many bits of an IPv6 address are one client
    errors: int = 20  # 5xx replies since the last accepted message, then 421
    idle_commands: int = 100  # NOOP, RSET, EHLO, ... since the last accepted message, then 421
    proxy_timeout_s: float = 5.0  # a PROXY header, whole
    handshake_timeout_s: float = 30.0  # TLS, from the first octet or the 220 to its end
    command_timeout_s: float = 300.0  # one command, whole (RFC 5321 §4.5.3.2.7)
    data_timeout_s: float = 300.0  # without an octet of content
    data_rate: int = 500  # octets a second that a message must keep up on the whole
    memory: int = 64 * MEBIBYTE  # content of all messages arriving; more goes to the spool sooner


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What senders may ask for beside delivery, and within which bounds."""

    future_release_s: int = 30 * 86400  # the longest hold (RFC 4865); 0: not offered
    deliver_by_s: int | None = 60  # the shortest time to return by (RFC 2852); None: not offered
    priority: int | None = 9  # the highest of who has logged in (RFC 6710); None: not offered


@dataclass(frozen=True, slots=True)
class SubmissionSettings:
    """What becomes of new mail that is not as it should be (RFC 6409 §8, RFC 5322)."""

    add_author: bool = True  # a missing From; False: refused
    refuse_repeated: bool = True  # fields that may be there only once
    refuse_long_lines: bool = False  # above 998 octets
    qualified: bool = True  # domains of one label are refused, unless they are ours


@dataclass(frozen=True, slots=True)
class InboundSettings:
    """Everything."""

    host_name: str  # in the greeting, in EHLO's answer, in Received and Message-ID
    listeners: tuple[ListenerSettings, ...] = ()
    limits: SessionLimits = SessionLimits()
    requests: RequestSettings = RequestSettings()
    submission: SubmissionSettings = SubmissionSettings()
    expiry_ms: int = 5 * 24 * 3600 * 1000  # from acceptance to the last attempt
    authserv_id: str = ""  # under which we tell results (RFC 8601); "": the host name
    postmaster: str = ""  # whom mail for <postmaster> (RFC 5321 §4.5.1) goes to; "": see relaying
    addresses: Addresses | None = None  # domains of ours, aliases, rewriting; None: nothing of it
