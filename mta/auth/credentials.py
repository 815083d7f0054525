"""Who is it?  The one door to authentication that the inbound side knows.

Behind it stands, for passwords, a ``twisted.cred`` portal: the account table of the spool first,
then whatever checkers of ``IUsernamePassword`` the composition root adds; beside it SCRAM's keys,
tokens and client certificates, which all end at an account of that table.  Everything unforeseen
means that nobody can say now (454), never no.

No exception from here, and nothing logged here, contains a password; a third party's exception
is logged by its type and place only, because its text may.
"""

import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from mta.auth.checkers import AccountChecker, InTurn, LoginDisabled, Spool, prepared_or_none
from mta.auth.derivations import Clock, Derivations, Pool
from mta.auth.failures import AuthenticationFailed, AuthenticationUnavailable
from mta.auth.passwords import prepare_login
from mta.auth.scram import ScramKeys
from mta.auth.successes import RecentSuccesses
from mta.auth.tokens import Tokens
from mta.smtp.sasl import StoredKeys
from mta.spool import accounts, certificates
from mta.spool.errors import SpoolUnavailable
from mta.tls.clients import ClientCertificate

_Answer = TypeVar("_Answer")

__all__ = ["Accounts", "AuthenticationFailed", "AuthenticationUnavailable", "IAuthenticated"]


class IAuthenticated(Interface):
    """The avatar: a client that has proved to be an account."""

    login = Attribute("the canonical login, text")


@implementer(IAuthenticated)
class Authenticated:
    """A client that has proved to be an account."""

    def __init__(self, login: str) -> None:
        self.login = login


@implementer(IRealm)
class Realm:
    """Turns the checker's answer into the avatar; an SMTP session keeps nothing to log out of."""

    def requestAvatar(
        self, avatarId: Any, mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], Authenticated, Callable[[], None]]:
        """Give the avatar for octets that a checker gave."""
        if IAuthenticated not in interfaces:
            raise NotImplementedError("this realm knows IAuthenticated only")
        return IAuthenticated, Authenticated(avatarId.decode("utf-8")), lambda: None


class Accounts:
    """The accounts that may submit mail.

    ``checkers`` are asked, in order, after the account table.  ``start`` and ``stop`` are its
    thread pool's; ``pool`` replaces that in tests.
    """

    _log = Logger()

    def __init__(
        self,
        database: Spool,
        reactor: Clock,
        *,
        checkers: Sequence[ICredentialsChecker] = (),
        pool: Pool | None = None,
        successes: RecentSuccesses | None = None,
    ) -> None:
        self._tokens: Tokens | None = None
        self._database = database
        self._scram = ScramKeys(database)
        self._derivations = Derivations(reactor, pool=pool)
        table = AccountChecker(
            database, self._derivations, successes or RecentSuccesses(reactor.seconds)
        )
        self._portal = Portal(Realm(), [InTurn((table, *checkers))])

    def start(self) -> None:
        """Start the derivation threads."""
        self._derivations.start()

    def stop(self) -> None:
        """End them; blocks for some tens of milliseconds if a derivation is running."""
        self._derivations.stop()

    def use(self, tokens: Tokens | None, *, same_keys: bool = False) -> None:
        """Check tokens by ``tokens`` from now on; None: there is no OAuth.

        ``same_keys``: its keys come from where they came from before, so those stay in force
        until it has had its own.
        """
        if tokens is not None and self._tokens is not None and same_keys:
            tokens.inherit(self._tokens)
        self._tokens = tokens

    def check(self, login: str, password: str) -> Deferred[str]:
        """Give the canonical login of the account that these are the credentials of.

        Fails, as all that follow, with ``AuthenticationFailed`` or ``AuthenticationUnavailable``,
        and with ``CancelledError`` when it is cancelled.
        """
        return Deferred.fromCoroutine(self._answered(self._check(login, password)))

    def scram_keys(self, login: str, hash_name: str) -> Deferred[StoredKeys]:
        """Give the keys of a login, or what stands in for them; never "no" (RFC 5802)."""
        return Deferred.fromCoroutine(self._answered(self._scram.get(login, hash_name)))

    def check_token(self, token: str, login: str) -> Deferred[str]:
        """Give the login that a bearer token is about; ``login``, unless "", must be the same."""
        return Deferred.fromCoroutine(self._answered(self._check_token(token, login)))

    def check_certificate(self, shown: ClientCertificate, login: str) -> Deferred[str]:
        """Give the login that a client certificate stands for; ``login`` "" leaves it to us."""
        return Deferred.fromCoroutine(self._answered(self._check_certificate(shown, login)))

    def known(self, login: str) -> Deferred[str]:
        """Give the login of an account that a proxy has logged in; nothing is proved here."""
        return Deferred.fromCoroutine(self._answered(self._known(login)))

    async def _answered(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Translate what can go wrong into the two answers besides yes."""
        try:
            return await work
        except (CancelledError, AuthenticationFailed, AuthenticationUnavailable):
            raise
        except LoginDisabled:
            raise AuthenticationFailed("disabled") from None
        except UnauthorizedLogin:
            raise AuthenticationFailed from None
        except SpoolUnavailable as error:
            raise AuthenticationUnavailable("the account table cannot be read") from error
        except Exception as error:
            raise self._unforeseen(error) from None

    async def _check(self, login: str, password: str) -> str:
        credentials = UsernamePassword(
            login.encode("utf-8", "surrogatepass"), password.encode("utf-8", "surrogatepass")
        )
        _, avatar, logout = await self._portal.login(credentials, None, IAuthenticated)
        logout()
        return str(avatar.login)  # type: ignore[attr-defined]

    async def _check_token(self, token: str, wanted: str) -> str:
        if self._tokens is None:
            raise AuthenticationUnavailable("no authorization server is configured any more")
        login = _prepared(await self._tokens.login(token))
        if wanted and _prepared(wanted) != login:
            raise AuthenticationFailed("token of another login")
        row = await self._database.read(accounts.get, login)
        if row is None:
            raise AuthenticationFailed("token without account")
        if row.disabled:
            raise AuthenticationFailed("disabled")
        return str(row.login)

    async def _known(self, login: str) -> str:
        row = await self._database.read(accounts.get, _prepared(login))
        if row is None:
            raise AuthenticationFailed("no such account")
        if row.disabled:
            raise AuthenticationFailed("disabled")
        return str(row.login)

    async def _check_certificate(self, shown: ClientCertificate, wanted: str) -> str:
        login = _prepared(wanted) if wanted else ""
        owners = await self._database.read(certificates.owners, shown.marks)
        found = [owner for owner in owners if not login or owner.login == login]
        if not found:
            raise AuthenticationFailed(shown.trouble or "certificate of no account")
        if len(found) > 1:
            raise AuthenticationFailed("certificate of several accounts")
        if found[0].disabled:
            raise AuthenticationFailed("disabled")
        return str(found[0].login)

    def _unforeseen(self, error: Exception) -> AuthenticationUnavailable:
        """Log an error of a checker's without its text, and return what the client is told."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {place.filename}:{place.lineno}"
        self._log.error("authentication is failing: {what}", what=what)
        return AuthenticationUnavailable(what)


def _prepared(login: str) -> str:
    prepared = prepared_or_none(prepare_login, login.encode("utf-8", "surrogatepass"))
    if prepared is None:
        raise AuthenticationFailed
    return prepared
