"""The answers that one client gets: between the protocol's core and the rest of the program.

Knows no transport.  For an event of the core it gives back the reply, or, where others must
be asked first (accounts, spool), a coroutine that gives it.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred

from mta.inbound import addressing, relaying, requests
from mta.inbound.authentication import Authentication
from mta.inbound.client import Client
from mta.inbound.endings import closing
from mta.inbound.filtering import Filtering
from mta.inbound.gate import Ruling, Rulings
from mta.inbound.origin import origin_of
from mta.inbound.reception import Reception
from mta.inbound.screen import GO_AHEAD, Ends, Screen, go_ahead, hello, screened
from mta.inbound.settings import ListenerSettings
from mta.inbound.stranger import Stranger, stranger_of
from mta.inbound.transaction import NO_ROOM, Transaction
from mta.mail import events
from mta.mail.envelope import Origin
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.events import (
    Content,
    Data,
    EndOfChunk,
    EndOfData,
    Event,
    Forget,
    Rejected,
)
from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import StoredKeys
from mta.smtp.server import Server
from mta.smtp.xclient import XClient
from mta.tls.clients import ClientCertificate

Said: TypeAlias = Reply | StoredKeys | None  # None: go on
Later: TypeAlias = Coroutine[Deferred[Any], Any, Said]
Answer: TypeAlias = Said | Later

OK_MAIL = reply(250, "2.1.0", "Ok")


class Dialogue:
    """One client, from its connection to its end."""

    def __init__(
        self,
        reception: Reception,
        listener: ListenerSettings,
        client: Client,
        core: Server,
        introduce: Callable[[Client], Reply | None],
        ends: Ends,
    ) -> None:
        """``core`` is the protocol's state.

        ``introduce`` is told of another client on the same connection (XCLIENT), and may say no.
        """
        self.tls = ""  # what was negotiated
        self.messages = 0  # accepted
        self._reception = reception
        self._settings = reception.settings
        self._listener = listener
        self._client = client
        self._introduce = introduce
        self._trusted = client.trusted(listener)
        self._stranger = stranger_of(reception, listener, client.host, trusted=self._trusted)
        self._core = core
        self._transaction: Transaction | None = None
        self._screen = (
            None if reception.milters is None else Screen(reception.milters, reception, ends)
        )
        self._passage = reception.gate.arrive(listener.name, client.host, outside=not self._trusted)
        self._authentication = Authentication(reception, self.origin, self._passage, self._refuse)

    @property
    def login(self) -> str:
        """Who the client is, "" as long as it has not proved to be anybody."""
        return self._authentication.login

    def secured(self, tls: str, certificate: ClientCertificate | None) -> None:
        """TLS is on; the client has shown ``certificate``."""
        self.tls, self._authentication.certificate = tls, certificate

    @property
    def unwelcome(self) -> Ruling:
        """What the policy says of the connection as such."""
        return self._passage.refusal

    def arrive(self) -> None:
        """The client is about to be greeted."""
        if self._stranger is not None:
            self._stranger.arrive()

    def answer(self, event: Event) -> Answer:
        """Answer an event of the core."""
        by_dialogue = _ANSWERS.get(type(event))
        if by_dialogue is not None:
            return by_dialogue(self, event)
        return self._authentication.answer(event)

    def origin(self, *, utf8: bool = False) -> Origin:
        """Return what is known of the client; ``utf8``: it sends a message with SMTPUTF8."""
        listener, client, login = self._listener.name, self._client, self.login
        return origin_of(self._core, client, listener, login=login, tls=self.tls, utf8=utf8)

    def leave(self) -> None:
        """The client has gone: nobody waits for a filter any more, nor for an answer."""
        if self._transaction is not None:
            self._transaction.left = True
        if self._screen is not None:
            self._screen.leave()

    def abandon(self) -> Coroutine[Deferred[Any], Any, None] | None:
        """The client has gone: what has not been accepted is forgotten, in a coroutine if any."""
        self._passage.end()
        return None if self._transaction is None else self._break_off()

    async def _break_off(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.abandon()

    def _mail(self, mail: Mail) -> Reply | Later:
        refusal = relaying.may_begin(self._listener, login=self.login, secure=self._core.secure)
        reason, room = "not authenticated", self._reception.room
        if refusal is None and room is not None and not room(mail.size or 0):
            refusal, reason = NO_ROOM, "no room in the spool"
        if refusal is not None:
            return self._refuse("MAIL", refusal, reason, mail.sender)
        asked = requests.grant(
            mail.wanted,
            self._settings.requests,
            login=self.login,
            now_ms=self._reception.now_ms(),
        )
        if isinstance(asked, Reply):
            return self._refuse("MAIL", asked, "cannot be granted", mail.sender)
        rulings, sender = Rulings(), mail.sender
        ruling = self._passage.mail(sender)
        if (refused := rulings.obey(ruling)) is not None:
            return self._refuse("MAIL", *refused, mail.sender)
        if ruling is not None and ruling.rewrite:
            mail = replace(mail, sender=ruling.rewrite)
        origin, verification = self.origin(utf8=mail.utf8), None
        if self._stranger is not None and not self.login:
            verification = self._stranger.message(origin, sender, rulings)
        if self._settings.addresses is not None:
            mail = self._canonical(mail, rulings)
        if self._submission and "." not in mail.sender.rpartition("@")[2]:
            no = relaying.unqualified(mail.sender, self._settings, relaying.SENDER_UNQUALIFIED)
            if no is not None:
                return self._refuse("MAIL", no, "not fully qualified", mail.sender)
        self._transaction = transaction = Transaction(
            self._reception,
            self._settings,
            origin,
            mail,
            submission=self._submission,
            passage=self._passage,
            rulings=rulings,
            asked=asked,
            highest=requests.highest(mail.wanted, self._settings.requests, login=self.login),
            verification=verification,
            outside=not self._trusted,
        )
        ok = requests.accepted(mail.wanted, asked, OK_MAIL)
        if self._screen is not None:
            filtering = self._screen.begin(transaction, mail, origin, submission=self._submission)
            if filtering is not None:
                transaction.filtering = filtering
                return self._screened(filtering, origin, ok)
        return ok

    async def _screened(self, filtering: Filtering, origin: Origin, ok: Reply) -> Reply:
        """Go on with MAIL when the filters have had their say."""
        if (refused := await filtering.begin(hello(origin, self._authentication))) is None:
            return ok
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        return self._refuse("MAIL", *refused, transaction.sender)

    @property
    def _submission(self) -> bool:
        """Whether what the client sends is new."""
        return self._listener.submission or bool(self.login)

    def _canonical(self, mail: Mail, rulings: Rulings) -> Mail:
        """Look the sender up in the tables that rewrite."""
        assert self._settings.addresses is not None
        known = self._settings.addresses
        new, remark = addressing.sender(known, mail.sender, submission=self._submission)
        if remark is None:
            return mail
        rulings.remarks.append(remark)
        self._passage.rewritten(new)
        return replace(mail, sender=new)

    def _recipient(self, rcpt: Rcpt) -> Reply | Later:
        stranger = self._stranger
        if stranger is None or self.login or not stranger.listed(rcpt.recipient):
            return self._rcpt(rcpt)
        return self._unless_listed(stranger, rcpt)

    async def _unless_listed(self, stranger: Stranger, rcpt: Rcpt) -> Said:
        """Take a stranger's recipient when lists of clients have had their say."""
        transaction = self._transaction
        assert transaction is not None
        if (refused := await stranger.judge(transaction.rulings)) is not None:
            return self._refuse("RCPT", *refused, transaction.sender, rcpt.recipient)
        answer = self._rcpt(rcpt)
        return answer if isinstance(answer, Reply) else await answer

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
        if self._settings.addresses is not None:
            led = self._led(transaction, address, rcpt, outside=refusal is not None)
            if led is not None:
                return led
        if refusal is not None and not postmaster:
            reason = "not authenticated and not from a trusted network"
            return self._refuse("RCPT", refusal, reason, transaction.sender, address)
        if self._submission and "." not in address.rpartition("@")[2]:
            no = relaying.unqualified(address, self._settings, relaying.UNQUALIFIED)
            if no is not None:
                return self._refuse("RCPT", no, "not fully qualified", transaction.sender, address)
        ruling = self._passage.recipient(address, transaction.count)
        if ruling is None and transaction.filtering is None:
            return self._add(transaction, address, rcpt)
        return self._ruled(transaction, address, rcpt, ruling)

    def _led(
        self, transaction: Transaction, address: str, rcpt: Rcpt, *, outside: bool
    ) -> Reply | Later | None:
        """Answer for an address of ours, or that a table has; None: it is none of these."""
        addresses = self._settings.addresses
        if addresses is None or (outside and not self._listener.incoming):
            return None
        client = addressing.Client(outside, self._submission, not transaction.sender)
        found = addressing.aim(addresses, address, rcpt, client, self._reception.now_ms())
        if isinstance(found, addressing.Refusal):
            return self._refuse("RCPT", found.reply, found.reason, transaction.sender, address)
        return None if found is None else self._aimed(transaction, address, rcpt, found)

    async def _aimed(
        self, transaction: Transaction, address: str, rcpt: Rcpt, aim: addressing.Aim
    ) -> Reply:
        """Go on with RCPT for what an address stands for, as far as the policy lets mail go."""
        count = transaction.count
        refused: tuple[Reply, str] | None = None
        for one in aim.goals:
            ruling = self._passage.recipient(one.address, count)
            decision = await ruling if isinstance(ruling, Awaitable) else ruling
            said = transaction.rulings.obey(decision)
            if said is None:
                count += 1
            elif said[0].code < 500:
                return self._refuse("RCPT", *said, transaction.sender, address)
            else:
                refused = said
                aim = aim.without(one, said[1])
        if refused is not None and not aim.goals:
            return self._refuse("RCPT", *refused, transaction.sender, address)
        if (no := await screened(transaction, address, rcpt, self._refuse)) is not None:
            return no
        answer = transaction.add_aim(aim)
        if not answer.positive:
            return self._refuse("RCPT", answer, "recipient limit", transaction.sender, address)
        return answer

    async def _ruled(
        self,
        transaction: Transaction,
        address: str,
        rcpt: Rcpt,
        ruling: Ruling | Awaitable[Ruling],
    ) -> Reply:
        """Go on with RCPT when the policy has had its say, and then the filters."""
        decision = await ruling if isinstance(ruling, Awaitable) else ruling
        if (refused := transaction.rulings.obey(decision)) is not None:
            return self._refuse("RCPT", *refused, transaction.sender, address)
        if (no := await screened(transaction, address, rcpt, self._refuse)) is not None:
            return no
        return self._add(transaction, address, rcpt)

    def _add(self, transaction: Transaction, address: str, rcpt: Rcpt) -> Reply:
        answer = transaction.add(address, rcpt.notify, rcpt.orcpt)
        if not answer.positive:
            return self._refuse("RCPT", answer, "recipient limit", transaction.sender, address)
        return answer

    def _data(self, data: Data) -> Reply | Later:
        assert self._transaction is not None
        filtering = self._transaction.filtering
        return GO_AHEAD if filtering is None else go_ahead(filtering, self._refuse)

    def _content(self, content: Content) -> Later | None:
        assert self._transaction is not None
        return self._transaction.take(content.data)

    async def _end_of_chunk(self, end: EndOfChunk) -> Reply:
        """RFC 3030 §2: each chunk is answered; after a refusal nothing of the message is left."""
        transaction = self._transaction
        assert transaction is not None
        refusal = await transaction.end_chunk(end)
        if refusal is not None:
            self._transaction = None
            return refusal
        return reply(250, "2.0.0", f"Ok: {end.octets} octets so far")

    async def _forget(self, forget: Forget) -> Reply:
        await self._break_off()
        return forget.reply

    async def _end_of_data(self, end: EndOfData) -> Reply:
        transaction = self._transaction
        assert transaction is not None
        answer = await transaction.finish(end)
        self._transaction = None
        if answer.positive:
            self.messages += 1
        return answer

    async def _xclient(self, said: XClient) -> Reply:
        """Go on as another client: what was decided of the proxy is nothing to it."""
        login = said.login or ""
        if login:
            found = await self._authentication.vouched(login)
            if isinstance(found, Reply):
                return found
            login = found
        client = self._client.introduced(said)
        refusal, reason = self._introduce(client), "connection limit"
        if refusal is None:
            self._passage.end()
            self._client, self._trusted = client, client.trusted(self._listener)
            self._stranger = stranger_of(
                self._reception, self._listener, client.host, trusted=self._trusted
            )
            self.arrive()
            self._passage = self._reception.gate.arrive(
                self._listener.name, client.host, outside=not self._trusted
            )
            if self._screen is not None:
                self._screen.begin_anew()
            if self._core.secure:
                self._core.secured()  # what TLS has shown of the proxy is not the client's
            ruling = self._authentication.begin_anew(self._passage, login)
            if ruling is not None:
                refusal, reason = closing(ruling.reply), ruling.reason
        if refusal is not None:
            return self._refuse("XCLIENT", refusal, reason)
        return reply(220, "", f"{self._settings.host_name} ESMTP")

    def _rejected(self, rejected: Rejected) -> None:
        if self._screen is not None:
            self._screen.unknown(rejected)
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


# Made once: a table of its own would be a third of an idle connection's memory.
_ANSWERS: Mapping[type, Callable[[Dialogue, Any], Answer]] = MappingProxyType(
    {
        Mail: Dialogue._mail,
        Rcpt: Dialogue._recipient,
        Data: Dialogue._data,
        Content: Dialogue._content,
        EndOfChunk: Dialogue._end_of_chunk,
        EndOfData: Dialogue._end_of_data,
        Forget: Dialogue._forget,
        Rejected: Dialogue._rejected,
        XClient: Dialogue._xclient,
    }
)
