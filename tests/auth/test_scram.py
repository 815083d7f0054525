"""Stored keys for SCRAM: real accounts, and what stands in for them."""

from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from scramp import ScramClient

from mta.auth import scram
from mta.auth.credentials import Accounts, AuthenticationUnavailable
from mta.auth.passwords import ITERATIONS, SHA1, new_keys
from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import Disproved, KeysWanted, Proved, Surroundings
from mta.spool import accounts
from mta.spool.accounts import Account
from mta.spool.errors import SpoolUnavailable


def account(login: str, *, sha1: bool = True, disabled: bool = False) -> Account:
    """A row as ``mta account add`` writes it, or as it did before there were SHA-1 keys."""
    keys, older = new_keys("pencil"), new_keys("pencil", hash_name=SHA1)
    row = (keys.salt, keys.iterations, keys.stored_key, keys.server_key)
    more = (older.salt, older.iterations, older.stored_key, older.server_key) if sha1 else ()
    return Account(login, *row, disabled, 1, *more)


@pytest.fixture
def book(spool: Any) -> Any:
    """Accounts over a real table, and a function that runs one exchange with scramp."""
    reactor = SimpleNamespace(callFromThread=spool.reactor.callFromThread, seconds=monotonic)
    checked = Accounts(spool.database, reactor)
    for one in (account("app7"), account("old", sha1=False), account("gone", disabled=True)):
        spool.wait(spool.database.write(accounts.add, one))

    def keys(login: str, hash_name: str = "sha256") -> Any:
        return spool.wait(checked.scram_keys(login, hash_name))

    def log_in(name: str, login: str, password: str = "pencil") -> Any:
        client = ScramClient([name], login, password)
        exchange = MECHANISMS[name](Surroundings())
        wanted = exchange.step(client.get_client_first().encode())
        assert isinstance(wanted, KeysWanted)
        client.set_server_first(exchange.supply(keys(wanted.login, wanted.hash_name)).data.decode())
        last = exchange.step(client.get_client_final().encode())
        if isinstance(last, Disproved):
            return last.reason
        client.set_server_final(last.data.decode())
        return exchange.step(b"")

    return SimpleNamespace(keys=keys, log_in=log_in, spool=spool, accounts=checked)


def test_accounts(book: Any) -> None:
    """Both hashes for a whole account; one without SHA-1 keys has only the other."""
    for name in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        assert book.log_in(name, "app7") == Proved(name, "app7")
        assert book.log_in(name, "app7", "crayon") == "credentials"
        assert book.log_in(name, "gone") == "disabled"
        assert book.log_in(name, "gone", "crayon") == "credentials"
        assert book.log_in(name, "nobody") == "credentials"
    assert book.log_in("SCRAM-SHA-256", "old") == Proved("SCRAM-SHA-256", "old")
    assert book.log_in("SCRAM-SHA-1", "old") == "credentials"


def test_attack_finding_logins_by_the_salt(book: Any) -> None:
    """Attack: asking twice, after a restart or another process; a fake salt is as lasting."""
    first = book.keys("nobody")
    assert first == book.keys("nobody")
    again = Accounts(book.spool.database, SimpleNamespace(seconds=monotonic))
    assert book.spool.wait(again.scram_keys("nobody", "sha256")) == first
    assert (first.iterations, len(first.salt)) == (ITERATIONS, 16)
    real = book.keys("app7")
    assert (real.iterations, len(real.salt)) == (first.iterations, len(first.salt))
    assert book.keys("someone").salt != first.salt
    assert book.keys("nobody", "sha1").salt != first.salt


def test_fake_keys_have_the_right_form(book: Any) -> None:
    """Attack: an unknown login, or one without SHA-1 keys, told by the length of something."""
    for login in ("nobody", "old", "a\0b", "\u06271", "x" * 300):
        keys = book.keys(login, "sha1")
        assert (len(keys.stored_key), len(keys.server_key), keys.refused) == (20, 20, "")
        assert (len(keys.salt), keys.iterations) == (16, ITERATIONS)


def test_unknown_costs_what_known_costs(book: Any, monkeypatch: Any) -> None:
    """Attack: finding logins by time.  Stand-in keys are made whoever asks; one row is read."""
    made: list[str] = []
    fake = scram.fake_keys
    monkeypatch.setattr(scram, "fake_keys", lambda *a: made.append(a[0]) or fake(*a))
    for login in ("app7", "nobody", "old", "gone"):
        book.keys(login, "sha1")
    assert made == ["app7", "nobody", "old", "gone"]


def test_another_form_of_the_login(book: Any) -> None:
    """The login is prepared (SASLprep) before it is looked for."""
    assert book.keys("a\u00adpp7").login == "app7"


def test_back_end_down(book: Any, monkeypatch: Any) -> None:
    """A spool that is away is 454, not 535: before the secret is known and after."""

    def away(*args: Any) -> Any:
        raise SpoolUnavailable("gone")

    for read_before in (False, True):
        one = Accounts(book.spool.database, SimpleNamespace(seconds=monotonic))
        if read_before:
            book.spool.wait(one.scram_keys("app7", "sha256"))
        with monkeypatch.context() as patched, pytest.raises(AuthenticationUnavailable):
            patched.setattr(book.spool.database, "read", away)
            book.spool.wait(one.scram_keys("app7", "sha256"))
