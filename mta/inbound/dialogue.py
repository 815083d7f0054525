"""The answers that one client gets: between the protocol's core and the rest of the program.

Knows no transport.  For an event of the core it gives back the reply, or, where others must
be asked first (accounts, spool), a coroutine that gives it.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.auth.credentials import AuthenticationFailed, AuthenticationUnavailable
from mta.inbound import relaying
from mta.inbound.gate import Ruling, Rulings
from mta.inbound.reception import Reception
from mta.inbound.settings import ListenerSettings
from mta.inbound.transaction import Transaction
from mta.mail import events
from mta.mail.envelope import Origin
from mta.mail.headers import protocol_keyword
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.events import Content, Data, EndOfData, Event, Rejected
from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import Claim
from mta.smtp.server import Server

Later: TypeAlias = Coroutine[Deferred[Any], Any, Reply | None]
Answer: TypeAlias = Reply | Later | None  # None: go on

OK_MAIL = reply(250, "2.1.0", "Ok")
GO_AHEAD = reply(354, "", "End data with <CR><LF>.<CR><LF>")
AUTHENTICATED = reply(235, "2.7.0", "Authentication successful")
WRONG = reply(535, "5.7.8", "Authentication failed: login or password is wrong")
CANNOT_SAY = reply(454, "4.7.0", "Authentication is not possible at the moment; try again later")


class Dialogue:
    """One client, from its connection to its end."""

    _log = Logger()

    def __init__(
        self, reception: Reception, listener: ListenerSettings, address: str, core: Server
    ) -> None:
        """``address`` is the client's IP address, ``core`` the protocol's state."""
        self.tls = ""  # what was negotiated
        self.login = ""
        self.messages = 0  # accepted
        self._reception = reception
        self._settings = reception.settings
        self._listener = listener
        self._address = address
        self._trusted = listener.trusts(address)
        self._core = core
        self._transaction: Transaction | None = None
        self._passage = reception.gate.arrive(listener.name, address)
        self._answers: dict[type, Callable[[Any], Answer]] = {
            Mail: self._mail,
            Rcpt: self._rcpt,
            Data: self._data,
            Content: self._content,
            EndOfData: self._end_of_data,
            Claim: self._authenticate,
            Rejected: self._rejected,
        }

    @property
    def unwelcome(self) -> Ruling:
        """What the policy says of the connection as such."""
        return self._passage.refusal

    def answer(self, event: Event) -> Answer:
        """Answer an event of the core."""
        return self._answers[type(event)](event)

    def origin(self) -> Origin:
        """Return what is known of the client."""
        core = self._core
        return Origin(
            listener=self._listener.name,
            client_address=self._address,
            client_name=core.client_name,
            login=self.login,
            protocol=protocol_keyword(
                extended=core.extended, secure=core.secure, authenticated=bool(self.login)
            ),
            tls=self.tls,
        )

    async def abandon(self) -> None:
        """The client has gone: what has not been accepted is forgotten."""
        self._passage.end()
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.abandon()

    def _mail(self, mail: Mail) -> Reply:
        refusal = relaying.may_begin(self._listener, login=self.login, secure=self._core.secure)
        if refusal is not None:
            return self._refuse("MAIL", refusal, "not authenticated", mail.sender)
        rulings = Rulings()
        ruling = self._passage.mail(mail.sender)
        if (refused := rulings.obey(ruling)) is not None:
            return self._refuse("MAIL", *refused, mail.sender)
        self._transaction = Transaction(
            self._reception,
            self._settings,
            self.origin(),
            ruling.rewrite or mail.sender if ruling is not None else mail.sender,
            submission=self._listener.submission or bool(self.login),
            passage=self._passage,
            rulings=rulings,
        )
        return OK_MAIL

    def _rcpt(self, rcpt: Rcpt) -> Reply | Later:
        transaction = self._transaction
        assert transaction is not None
        address, postmaster = rcpt.recipient, ""
        if relaying.is_bare_postmaster(address):
            postmaster = self._settings.postmaster
            address = postmaster or f"{address}@{self._settings.host_name}"
        refusal = relaying.may_relay(
            self._listener, login=self.login, trusted=self._trusted, secure=self._core.secure
        )
        if refusal is not None and not postmaster:
            reason = "not authenticated and not from a trusted network"
            return self._refuse("RCPT", refusal, reason, transaction.sender, address)
        ruling = self._passage.recipient(address, transaction.count)
        if ruling is None:
            return self._add(transaction, address)
        return self._ruled(transaction, address, ruling)

    async def _ruled(
        self, transaction: Transaction, address: str, ruling: Ruling | Awaitable[Ruling]
    ) -> Reply:
        """Go on with RCPT when the policy has had its say."""
        decision = await ruling if isinstance(ruling, Awaitable) else ruling
        if (refused := transaction.rulings.obey(decision)) is not None:
            return self._refuse("RCPT", *refused, transaction.sender, address)
        return self._add(transaction, address)

    def _add(self, transaction: Transaction, address: str) -> Reply:
        answer = transaction.add(address)
        if not answer.positive:
            return self._refuse("RCPT", answer, "recipient limit", transaction.sender, address)
        return answer

    def _data(self, data: Data) -> Reply:
        return GO_AHEAD

    def _content(self, content: Content) -> Later | None:
        assert self._transaction is not None
        return self._transaction.take(content.data)

    async def _end_of_data(self, end: EndOfData) -> Reply:
        transaction = self._transaction
        assert transaction is not None
        answer = await transaction.finish(end)
        self._transaction = None
        if answer.positive:
            self.messages += 1
        return answer

    async def _authenticate(self, claim: Claim) -> Reply:
        accounts = self._reception.accounts
        assert accounts is not None
        if (blocked := await self._passage.may_log_in(claim.login)) is not None:
            self._not_authenticated(claim, "blocked")
            return self._refuse("AUTH", blocked.reply, blocked.reason)
        try:
            login = await accounts.check(claim.login, claim.password)
        except CancelledError:
            raise
        except AuthenticationFailed as error:
            self._passage.login_failed(claim.login)
            self._not_authenticated(claim, error.reason)
            return WRONG
        except AuthenticationUnavailable:
            self._not_authenticated(claim, "unavailable")
            return CANNOT_SAY
        except Exception as error:
            self._log.error("authentication is failing: {what}", what=type(error).__name__)
            self._not_authenticated(claim, "unavailable")
            return CANNOT_SAY
        if (limited := self._passage.logged_in(login)) is not None:
            self._refuse("AUTH", CANNOT_SAY, limited.reason)
            return CANNOT_SAY
        self.login = login
        self._reception.emit(events.Authenticated(self.origin(), claim.mechanism))
        return AUTHENTICATED

    def _not_authenticated(self, claim: Claim, reason: str) -> None:
        # The only text of a client's that has not come through the grammar.
        login = "".join(c if c.isprintable() else "?" for c in claim.login[:255])
        self._reception.emit(
            events.AuthenticationFailed(self.origin(), claim.mechanism, login, reason)
        )

    def _rejected(self, rejected: Rejected) -> None:
        self._refuse(rejected.verb, rejected.reply, "protocol")

    def _refuse(
        self, command: str, answer: Reply, reason: str, sender: str = "", recipient: str = ""
    ) -> Reply:
        self._passage.refused()
        text = f"{answer.code} {answer.enhanced} {answer.text}"
        self._reception.emit(
            events.Refused(self.origin(), command, text, reason, sender, recipient)
        )
        return answer
