"""AUTH: what a client claims, put to those who know, and what it and the log are told.

The client learns yes, no, or not now; why not is for the log alone.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import Logger

from mta.auth.failures import AuthenticationFailed, AuthenticationUnavailable
from mta.inbound.gate import Passage, Ruling
from mta.inbound.reception import Credentials, Reception
from mta.mail import events
from mta.mail.envelope import Origin
from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import (
    Attempt,
    Bearer,
    Claim,
    Disproved,
    External,
    KeysWanted,
    Proved,
    StoredKeys,
)
from mta.tls.clients import ClientCertificate

AUTHENTICATED = reply(235, "2.7.0", "Authentication successful")
WRONG = reply(535, "5.7.8", "Authentication failed: login or password is wrong")
NOT_ACCEPTED = reply(535, "5.7.8", "Authentication failed: the credentials are not accepted")
CANNOT_SAY = reply(454, "4.7.0", "Authentication is not possible at the moment; try again later")

_Answer = TypeVar("_Answer")

_PASSWORDS = (Claim, Proved, Disproved)
# What is wrong with tokens and certificates that are no forgeries, and with a proxy's word
_HONEST = frozenset(
    {
        "disabled",
        "token expired",
        "token not valid yet",
        "certificate of several accounts",
        "no such account",
    }
)


def is_guess(attempt: Attempt | KeysWanted, reason: str) -> bool:
    """Tell whether an attempt that failed for ``reason`` may have been a guess or a forgery."""
    if isinstance(attempt, Bearer | External):
        return reason not in _HONEST
    return reason == "credentials"


class Authentication:
    """One client's attempts."""

    _log = Logger()

    def __init__(
        self,
        reception: Reception,
        origin: Callable[[], Origin],
        passage: Passage,
        refuse: Callable[[str, Reply, str], Reply],
    ) -> None:
        """``passage`` is the client in the eyes of the policy, ``refuse`` logs what it refuses."""
        self.login = ""
        self.mechanism = ""  # by which it was proved
        self.certificate: ClientCertificate | None = None  # what the client has shown
        self._reception = reception
        self._origin = origin
        self._passage = passage
        self._refuse = refuse

    def answer(self, event: Any) -> Coroutine[Deferred[Any], Any, Reply | StoredKeys]:
        """Answer an event of the core's that is about authentication."""
        return self._keys(event) if isinstance(event, KeysWanted) else self._authenticate(event)

    async def vouched(self, login: str) -> str | Reply:
        """Return the canonical login of an account that a proxy has logged in, or a refusal."""
        return await self._asked(External("XCLIENT", login), self._accounts.known(login))

    def begin_anew(self, passage: Passage, login: str) -> Ruling:
        """Go on with another client, who has logged in already if ``login`` is not "".

        Returns what is against it.
        """
        self._passage, self.login, self.mechanism, self.certificate = passage, "", "", None
        ruling = passage.refusal
        if ruling is not None or not login:
            return ruling
        ruling = passage.logged_in(login)
        if ruling is None:
            self.login = login
            self._reception.emit(events.Authenticated(self._origin(), "XCLIENT"))
        return ruling

    async def _keys(self, wanted: KeysWanted) -> StoredKeys | Reply:
        if (blocked := await self._blocked(wanted)) is not None:
            return blocked
        keys = self._accounts.scram_keys(wanted.login, wanted.hash_name)
        answer: StoredKeys | Reply = await self._asked(wanted, keys)
        return answer

    async def _authenticate(self, attempt: Attempt) -> Reply:
        asked_before = isinstance(attempt, Proved | Disproved)  # with the keys
        if not asked_before and (blocked := await self._blocked(attempt)) is not None:
            return blocked
        answer = await self._asked(attempt, self._check(attempt))
        if isinstance(answer, Reply):
            return answer
        if (limited := self._passage.logged_in(answer)) is not None:
            return self._refuse("AUTH", CANNOT_SAY, limited.reason)
        self.login, self.mechanism = answer, attempt.mechanism
        self._reception.emit(events.Authenticated(self._origin(), attempt.mechanism))
        return AUTHENTICATED

    async def _blocked(self, attempt: Attempt | KeysWanted) -> Reply | None:
        """Ask the policy before anything is looked up; it takes its time after failures."""
        blocked = await self._passage.may_log_in(attempt.login)
        if blocked is None:
            return None
        self._failed(attempt, "blocked")
        return self._refuse("AUTH", blocked.reply, blocked.reason)

    def _check(self, attempt: Attempt) -> Deferred[str]:
        match attempt:
            case Claim():
                return self._accounts.check(attempt.login, attempt.password)
            case Bearer():
                return self._accounts.check_token(attempt.token, attempt.login)
            case External():
                assert self.certificate is not None
                return self._accounts.check_certificate(self.certificate, attempt.login)
            case Proved():
                return succeed(attempt.login)
            case Disproved():
                return fail(AuthenticationFailed(attempt.reason))

    async def _asked(
        self, attempt: Attempt | KeysWanted, question: Deferred[_Answer]
    ) -> _Answer | Reply:
        """Return the answer to ``question``; for a failure, the reply."""
        try:
            return await question
        except CancelledError:
            raise
        except AuthenticationFailed as error:
            if is_guess(attempt, error.reason):
                self._passage.login_failed(attempt.login)
            self._failed(attempt, error.reason)
            return WRONG if isinstance(attempt, _PASSWORDS) else NOT_ACCEPTED
        except AuthenticationUnavailable:
            self._failed(attempt, "unavailable")
            return CANNOT_SAY
        except Exception as error:
            self._log.error("authentication is failing: {what}", what=type(error).__name__)
            self._failed(attempt, "unavailable")
            return CANNOT_SAY

    def _failed(self, attempt: Attempt | KeysWanted, reason: str) -> None:
        # The only text of a client's that has not come through the grammar.
        login = "".join(c if c.isprintable() else "?" for c in attempt.login[:255])
        self._reception.emit(
            events.AuthenticationFailed(self._origin(), attempt.mechanism, login, reason)
        )

    @property
    def _accounts(self) -> Credentials:
        accounts = self._reception.accounts
        assert accounts is not None
        return accounts
