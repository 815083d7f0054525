"""Who is it?  The one door to authentication that the inbound side knows.

Behind it stands a ``twisted.cred`` portal: the account table of the spool first, then whatever
checkers of ``IUsernamePassword`` the composition root adds.  Two answers besides yes: *no*
(535) and *nobody can say now* (454, RFC 4954 §4.7.2); everything unforeseen is the latter.

No exception from here, and nothing logged here, contains a password; a third party's exception
is logged by its type and place only, because its text may.
"""

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from mta.auth.checkers import AccountChecker, InTurn, LoginDisabled, Reads
from mta.auth.derivations import AuthenticationUnavailable, Clock, Derivations, Pool
from mta.auth.successes import RecentSuccesses
from mta.spool.errors import SpoolUnavailable

__all__ = ["Accounts", "AuthenticationFailed", "AuthenticationUnavailable", "IAuthenticated"]


class AuthenticationFailed(Exception):
    """The credentials are not those of an account: 535 5.7.8 (RFC 4954 §6).

    The text is always the same; ``reason`` is for the log: "credentials" or "disabled".
    """

    def __init__(self, reason: str = "credentials") -> None:
        super().__init__("authentication failed")
        self.reason = reason


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
        database: Reads,
        reactor: Clock,
        *,
        checkers: Sequence[ICredentialsChecker] = (),
        pool: Pool | None = None,
        successes: RecentSuccesses | None = None,
    ) -> None:
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

    def check(self, login: str, password: str) -> Deferred[str]:
        """Give the canonical login of the account that these are the credentials of.

        Fails with ``AuthenticationFailed`` or ``AuthenticationUnavailable``, and with
        ``CancelledError`` when it is cancelled.
        """
        return Deferred.fromCoroutine(self._check(login, password))

    async def _check(self, login: str, password: str) -> str:
        credentials = UsernamePassword(
            login.encode("utf-8", "surrogatepass"), password.encode("utf-8", "surrogatepass")
        )
        try:
            _, avatar, logout = await self._portal.login(credentials, None, IAuthenticated)
        except (CancelledError, AuthenticationUnavailable):
            raise
        except LoginDisabled:
            raise AuthenticationFailed("disabled") from None
        except UnauthorizedLogin:
            raise AuthenticationFailed from None
        except SpoolUnavailable as error:
            raise AuthenticationUnavailable("the account table cannot be read") from error
        except Exception as error:
            raise self._unforeseen(error) from None
        logout()
        return str(avatar.login)  # type: ignore[attr-defined]

    def _unforeseen(self, error: Exception) -> AuthenticationUnavailable:
        """Log an error of a checker's without its text, and return what the client is told."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {place.filename}:{place.lineno}"
        self._log.error("authentication is failing: {what}", what=what)
        return AuthenticationUnavailable(what)
