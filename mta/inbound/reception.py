"""What all sessions of the process share: the doors to the rest of the program."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mta.dkim.signer import Signer
from mta.dnsbl.lists import Lists
from mta.inbound.gate import Gate, Open
from mta.inbound.settings import InboundSettings
from mta.mail.events import Emit
from mta.milter.milters import Milters
from mta.smtp.sasl import StoredKeys
from mta.spool.intake import Handover
from mta.tls.certificates import ServerCertificates
from mta.tls.clients import ClientCertificate
from mta.verify.message import Verifier


class Writes(Protocol):
    """What is needed of ``mta.spool.database.Database``."""

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``; fires after its commit."""

    def write_together(
        self, fn: Callable[[Any, Sequence[Any]], Sequence[Any]], item: Any
    ) -> Deferred[Any]:
        """The same, together with whatever else waits."""

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Read; for the bodies that are handed over."""


class Credentials(Protocol):
    """What is needed of ``mta.auth.credentials.Accounts``."""

    def check(self, login: str, password: str) -> Deferred[str]:
        """Give the canonical login."""

    def scram_keys(self, login: str, hash_name: str) -> Deferred[StoredKeys]:
        """Give the keys of a login, or what stands in for them."""

    def check_token(self, token: str, login: str) -> Deferred[str]:
        """Give the canonical login that a token is about."""

    def check_certificate(self, shown: ClientCertificate, login: str) -> Deferred[str]:
        """Give the canonical login that a certificate stands for."""

    def known(self, login: str) -> Deferred[str]:
        """Give the canonical login of an account that somebody vouches for."""


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Reception:
    """Made once; ``settings`` is replaced by a reload."""

    clock: IReactorTime
    settings: InboundSettings
    database: Writes
    handover: Handover
    accounts: Credentials | None
    certificates: ServerCertificates | None
    emit: Emit
    now_ms: Callable[[], int] = wall_ms  # for what is written down; waits go by ``clock``
    signer: Signer | None = None
    gate: Gate = field(default_factory=Open)  # the policy
    lists: Lists | None = None  # that strangers are looked up in
    verifier: Verifier | None = None  # of the mail that they bring
    milters: Milters | None = None  # filters of others
    room: Callable[[int], bool] | None = None  # whether the spool has some for so many octets
    crowded: Callable[[], bool] | None = None  # whether no descriptor is left for a new client
    held: int = 0  # octets of content of all messages arriving, in memory
    closing: bool = False  # the service is stopping
