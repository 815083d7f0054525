"""Authentication as the inbound side sees it: yes, no, and nobody can say now."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.auth import derivations, passwords
from mta.auth.credentials import Accounts, AuthenticationFailed, AuthenticationUnavailable
from mta.spool import accounts
from mta.spool.errors import SpoolUnavailable


class Reactor(Clock):
    """A clock whose reactor thread is this one."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        callable(*args, **kwargs)


class ImmediatePool:
    """A pool that does its work at once."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def callInThreadWithCallback(self, onResult: Any, func: Any, *args: Any) -> None:
        try:
            onResult(True, func(*args))
        except Exception:
            onResult(False, Failure())


class Table:
    """The account table behind ``Database.read``."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.reads: list[str] = []
        self.away: Exception | None = None

    def add(self, login: str, password: str, disabled: bool = False) -> None:
        keys = passwords.new_keys(password, iterations=10)
        self.rows[login] = SimpleNamespace(
            login=login,
            salt=keys.salt,
            iterations=keys.iterations,
            stored_key=keys.stored_key,
            server_key=keys.server_key,
            disabled=disabled,
            created_ms=0,
        )

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        assert fn is accounts.get
        (login,) = args
        self.reads.append(login)
        return fail(self.away) if self.away else succeed(self.rows.get(login))


class AccountsTests(SynchronousTestCase):
    """A table with two accounts, one of them disabled, and counted derivations."""

    def setUp(self) -> None:
        self.table = Table()
        self.table.add("app7", "pencil")
        self.table.add("old", "pencil", disabled=True)
        self.clock = Reactor()
        self.accounts = self.make()
        self.derived: list[str] = []

        def verify(password: str, keys: passwords.Keys) -> bool:
            self.derived.append(password)
            return passwords.verify(password, passwords.Keys(keys.salt, 10, keys.stored_key, b""))

        self.patch(derivations, "verify", verify)

    def make(self, checkers: Any = ()) -> Accounts:
        return Accounts(self.table, self.clock, pool=ImmediatePool(), checkers=checkers)

    def refused(self, login: str, password: str) -> AuthenticationFailed:
        failure = self.failureResultOf(self.accounts.check(login, password), AuthenticationFailed)
        assert isinstance(failure.value, AuthenticationFailed)
        return failure.value

    def test_right(self) -> None:
        """The right password gives the login."""
        self.assertEqual(self.successResultOf(self.accounts.check("app7", "pencil")), "app7")

    def test_unknown_costs_what_known_costs(self) -> None:
        """Attack: finding logins by time.  Wrong, unknown and disabled derive once each."""
        for login, password in (
            ("app7", "wrong"),
            ("nobody", "wrong"),
            ("old", "wrong"),
            ("old", "pencil"),
            ("a\0b", "wrong"),
            ("app7", "\ud800"),
        ):
            self.derived.clear()
            self.refused(login, password)
            self.assertEqual(len(self.derived), 1, login)

    def test_refusals_look_the_same(self) -> None:
        """Attack: learning from the text that an account exists; the log knows the reason."""
        refusals = [
            self.refused(*credentials)
            for credentials in (
                ("app7", "wrong"),
                ("nobody", "pencil"),
                ("old", "wrong"),
                ("old", "pencil"),
            )
        ]

        self.assertEqual({str(refusal) for refusal in refusals}, {"authentication failed"})
        self.assertEqual(
            [refusal.reason for refusal in refusals],
            ["credentials", "credentials", "credentials", "disabled"],
        )

    def test_nul_in_a_login_is_no_database_error(self) -> None:
        """Attack: a login that PostgreSQL chokes on must be refused as wrong, not as temporary."""
        self.refused("app7\0", "pencil")
        self.refused("\ud800", "pencil")
        self.refused("x" * 100_000, "pencil")

        self.assertEqual(self.table.reads, [])

    def test_empty_password(self) -> None:
        """Attack: a password that is empty, or becomes so."""
        for password in ("", "\u00ad", "\0"):
            self.refused("app7", password)

    def test_non_ascii_password(self) -> None:
        """A password verifies in any form that SASLprep makes equal."""
        self.table.add("anna", "Gr\u00fc\u00dfe \N{SNOWMAN}")

        check = self.accounts.check("anna", "Gru\u0308\u00dfe\u00a0\N{SNOWMAN}")
        self.assertEqual(self.successResultOf(check), "anna")

    def test_back_end_down(self) -> None:
        """A database that is away is nobody's wrong password (454, not 535), and comes back."""
        self.table.away = SpoolUnavailable("database is locked")
        self.failureResultOf(self.accounts.check("app7", "pencil"), AuthenticationUnavailable)
        self.failureResultOf(self.accounts.check("nobody", "x"), AuthenticationUnavailable)

        self.table.away = None
        self.assertEqual(self.successResultOf(self.accounts.check("app7", "pencil")), "app7")

    def test_busy_client_pays_once(self) -> None:
        """For a second neither row nor password is looked at again, then only the row."""
        for _ in range(3):
            self.successResultOf(self.accounts.check("app7", "pencil"))
        self.assertEqual((len(self.derived), len(self.table.reads)), (1, 1))

        self.clock.advance(1)
        self.successResultOf(self.accounts.check("app7", "pencil"))
        self.assertEqual((len(self.derived), len(self.table.reads)), (1, 2))

        self.clock.advance(300)
        self.successResultOf(self.accounts.check("app7", "pencil"))
        self.assertEqual((len(self.derived), len(self.table.reads)), (2, 3))

    def test_disabling_is_seen_within_a_second(self) -> None:
        """A remembered success does not outlive the account by more than the stated second."""
        self.successResultOf(self.accounts.check("app7", "pencil"))
        self.table.rows["app7"].disabled = True
        self.clock.advance(1)

        self.assertEqual(self.refused("app7", "pencil").reason, "disabled")

    def test_a_changed_password_is_seen(self) -> None:
        """The new password is good at once, the old one bad within a second."""
        self.successResultOf(self.accounts.check("app7", "pencil"))
        self.table.add("app7", "crayon")

        self.assertEqual(self.successResultOf(self.accounts.check("app7", "crayon")), "app7")
        self.clock.advance(1)
        self.refused("app7", "pencil")

    def test_a_removed_account_is_seen(self) -> None:
        """An account that is gone lets nobody in after a second."""
        self.successResultOf(self.accounts.check("app7", "pencil"))
        del self.table.rows["app7"]
        self.clock.advance(1)

        self.refused("app7", "pencil")

    def test_another_login_with_the_same_password(self) -> None:
        """Attack: a remembered success must not open another account."""
        self.successResultOf(self.accounts.check("app7", "pencil"))

        self.refused("App7", "pencil")
        self.refused("app7pencil", "")

    def test_further_checkers(self) -> None:
        """A checker from elsewhere is asked after the table, in octets as cred has it."""
        other = InMemoryUsernamePasswordDatabaseDontUse(**{"guest": b"chalk", "old": b"pencil"})
        self.accounts = self.make([other])

        self.assertEqual(self.successResultOf(self.accounts.check("guest", "chalk")), "guest")
        self.assertEqual(self.successResultOf(self.accounts.check("app7", "pencil")), "app7")
        self.refused("guest", "pencil")
        self.assertEqual(self.refused("old", "pencil").reason, "disabled")

    def test_a_later_checker_is_not_asked_while_the_table_is_away(self) -> None:
        """Attack: a disabled account coming in by another checker while the database is down."""
        self.accounts = self.make([InMemoryUsernamePasswordDatabaseDontUse(old=b"pencil")])
        self.table.away = SpoolUnavailable("gone")

        self.failureResultOf(self.accounts.check("old", "pencil"), AuthenticationUnavailable)

    def test_unforeseen_errors_are_temporary_and_quote_nothing(self) -> None:
        """A checker that breaks is 454; neither exception nor log contains the password."""
        broken = mock.Mock(credentialInterfaces=(IUsernamePassword,))
        broken.requestAvatarId = lambda c: fail(RuntimeError(f"bad {c.password!r}"))
        self.accounts = self.make([broken])
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)

        failure = self.failureResultOf(
            self.accounts.check("guest", "sesame"), AuthenticationUnavailable
        )

        self.assertIn("RuntimeError at", str(failure.value))
        self.assertNotIn("sesame", failure.getTraceback() + repr(failure) + repr(events))
        self.assertIn("RuntimeError", repr(events))

    def test_refusals_quote_nothing(self) -> None:
        """No refusal, in text or traceback, contains the password, not even an odd one."""
        for password in ("sesame", "sesame\ud800", "sesame\0"):
            failure = self.failureResultOf(
                self.accounts.check("app7", password), AuthenticationFailed
            )
            self.assertNotIn("sesame", failure.getTraceback() + repr(failure.value))

    def test_cancelling(self) -> None:
        """A client that leaves while the table is read ends as cancelled, not as wrong."""
        self.patch(self.table, "read", lambda *args: Deferred())
        check = self.accounts.check("app7", "pencil")
        check.cancel()

        self.failureResultOf(check, CancelledError)
