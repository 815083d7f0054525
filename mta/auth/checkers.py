"""Credential checkers of ``twisted.cred``: the account table, and several checkers in turn.

Logins and passwords are octets here (UTF-8), as the checkers that come with Twisted and with
others expect them, so that any checker of ``IUsernamePassword`` can stand beside ours.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mta.auth.derivations import Derivations
from mta.auth.passwords import Keys, fake_keys, prepare, prepare_login
from mta.auth.successes import RecentSuccesses
from mta.spool import accounts

AvatarId: TypeAlias = bytes | tuple[()]


class LoginDisabled(UnauthorizedLogin):
    """The credentials are right and the account is disabled."""


class Spool(Protocol):
    """What is needed of ``mta.spool.database.Database``."""

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``; fails with ``SpoolUnavailable``."""

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """The same, in a transaction that is committed."""


@implementer(ICredentialsChecker)
class AccountChecker:
    """Checks passwords against the account table of the spool.

    Each check costs one derivation, whether the login exists, is disabled or can be none at
    all, unless the same credentials succeeded lately.  A refusal always rests on a row read
    for it; a success may rest on one read a second ago (``RecentSuccesses``).
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self, database: Spool, derivations: Derivations, successes: RecentSuccesses
    ) -> None:
        self._database = database
        self._derivations = derivations
        self._successes = successes
        # For this process alone: here nobody is shown the salt (see ``scram``).
        self._secret = secrets.token_bytes(32)

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """Give the canonical login; fails with ``UnauthorizedLogin``, or ``SpoolUnavailable``."""
        return Deferred.fromCoroutine(self._check(credentials.username, credentials.password))

    async def _check(self, username: bytes, password: bytes) -> AvatarId:
        fingerprint = self._successes.fingerprint(username, password)
        known = self._successes.confirmed(fingerprint)
        if known is None:
            known = await self._check_row(fingerprint, username, password)
        return known.encode()

    async def _check_row(self, fingerprint: bytes, username: bytes, password: bytes) -> str:
        login = prepared_or_none(prepare_login, username)
        # A login with NUL or a stray surrogate is not asked for: PostgreSQL would answer with
        # an error, which the client would see as a database that is away.
        row = await self._database.read(accounts.get, login) if login is not None else None
        if row is None:
            keys = fake_keys(username.decode("utf-8", "replace"), self._secret)
        else:
            keys = Keys(row.salt, row.iterations, row.stored_key, row.server_key)
            if not row.disabled and self._successes.confirm(fingerprint, row.stored_key):
                return str(row.login)
        secret = prepared_or_none(prepare, password)
        matched = await self._derivations.matches(fingerprint, secret or "", keys)
        if row is None or not secret or not matched:
            raise UnauthorizedLogin
        if row.disabled:
            self._successes.forget(fingerprint)
            raise LoginDisabled
        self._successes.remember(fingerprint, row.login, row.stored_key)
        return str(row.login)


def prepared_or_none(prepares: Callable[[str], str], octets: bytes) -> str | None:
    """Return the text of ``octets`` as SASL compares it, None where it can be no such text."""
    try:
        return prepares(octets.decode("utf-8"))
    except ValueError:  # UnicodeDecodeError is one; it holds the password and ends here
        return None


@implementer(ICredentialsChecker)
class InTurn:
    """Asks checkers one after the other until one knows the credentials.

    A disabled account is refused at once, and so is everybody while a checker that comes
    earlier cannot answer: otherwise a later one could let in whom the first has shut out.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """Give what the first checker that knows the credentials gives."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: Any) -> AvatarId:
        for checker in self._checkers:
            try:
                asks: Callable[..., Any] = checker.requestAvatarId
                avatar_id = await maybeDeferred(asks, credentials)
            except LoginDisabled:
                raise
            except UnauthorizedLogin:
                continue
            if avatar_id:  # not ANONYMOUS, which is ()
                return avatar_id.encode() if isinstance(avatar_id, str) else bytes(avatar_id)
        raise UnauthorizedLogin
