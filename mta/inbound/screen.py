"""One client before the filters (``mta.milter``), over all its messages.

It becomes known to them with its first message, not sooner: a client that brings none costs
them nothing.
"""

from collections.abc import Callable

from mta import __version__
from mta.inbound.authentication import Authentication
from mta.inbound.filtering import Filtering
from mta.inbound.reception import Reception
from mta.inbound.transaction import Transaction
from mta.mail.envelope import Origin
from mta.milter.macros import Client, Hello
from mta.milter.milters import Milters, Screening
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.events import Rejected
from mta.smtp.replies import Reply, reply

GO_AHEAD = reply(354, "", "End data with <CR><LF>.<CR><LF>")

Refuse = Callable[..., Reply]
"""Notes a refusal: its command, reply and reason, sender and recipient."""

Ends = Callable[[], tuple[int, str, int]]
"""Gives the client's port, and address and port that it has connected to."""


class Screen:
    """One client's."""

    def __init__(self, milters: Milters, reception: Reception, ends: Ends) -> None:
        self._milters = milters
        self._reception = reception
        self._settings = reception.settings
        self._ends = ends
        self._screening: Screening | None = None
        self._arrived = False

    def begin(
        self, transaction: Transaction, mail: Mail, origin: Origin, *, submission: bool
    ) -> Filtering | None:
        """Have filters look at a message; None if it concerns none of them."""
        if not self._arrived:
            self._arrived = True
            self._screening = self._milters.arrive(self._client(origin))
        examination = None
        if self._screening is not None:
            examination = self._screening.begin(submission=submission)
        if examination is None:
            return None
        limits = self._settings.limits
        return Filtering(examination, self._reception, transaction.id, mail, limits)

    def unknown(self, rejected: Rejected) -> None:
        """Tell that there was a command that is none; not which, it may have been a password."""
        if self._screening is not None and rejected.reply.code == 500:
            self._screening.unknown(rejected.verb)

    def leave(self) -> None:
        """The client has gone: nobody waits for a filter any more."""
        if self._screening is not None:
            self._screening.leave()

    def begin_anew(self) -> None:
        """It is another client from now on (XCLIENT)."""
        self.leave()
        self._screening, self._arrived = None, False

    def _client(self, origin: Origin) -> Client:
        """Return the client as filters know it."""
        port, address, local_port = self._ends()
        return Client(
            host_name=self._settings.host_name,
            daemon=origin.listener,
            version=f"mta {__version__}",
            address=origin.client_address,
            port=0 if origin.proxy else port,
            name=origin.host_name or "unknown",
            local_address=address,
            local_port=local_port,
        )


def hello(origin: Origin, authentication: Authentication) -> Hello:
    """Return what the client is at MAIL."""
    shown = authentication.certificate
    subject = "" if shown is None else shown.subject
    return Hello(origin.client_name, origin.tls, subject, origin.login, authentication.mechanism)


async def screened(
    transaction: Transaction, address: str, rcpt: Rcpt, refuse: Refuse
) -> Reply | None:
    """Ask the filters about a recipient as the client has named it."""
    if transaction.filtering is None or transaction.full:
        return None
    refused = await transaction.filtering.recipient(address, rcpt)
    return None if refused is None else refuse("RCPT", *refused, transaction.sender, address)


async def go_ahead(filtering: Filtering, refuse: Refuse) -> Reply:
    """Answer DATA when the filters have had their say."""
    refused = await filtering.data()
    return GO_AHEAD if refused is None else refuse("DATA", *refused)
