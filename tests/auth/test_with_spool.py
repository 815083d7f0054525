"""Accounts over the real table and real threads, on both databases."""

from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from mta.auth.credentials import Accounts, AuthenticationFailed
from mta.auth.passwords import new_keys
from mta.spool import accounts
from mta.spool.accounts import Account


def account(login: str, password: str) -> Account:
    """Return a row as ``mta account add`` writes it."""
    keys = new_keys(password, iterations=4096)
    return Account(login, keys.salt, keys.iterations, keys.stored_key, keys.server_key, False, 1)


def test_an_account_from_its_first_day_to_its_last(spool: Any):
    """Added, changed, disabled, enabled, removed: each is seen by the next check."""
    reactor = SimpleNamespace(callFromThread=spool.reactor.callFromThread, seconds=monotonic)
    checked = Accounts(spool.database, reactor)
    checked.start()
    write = spool.database.write

    def check(password: str) -> str:
        try:
            return str(spool.wait(checked.check("app7", password)))
        except AuthenticationFailed as error:
            return error.reason

    try:
        assert check("pencil") == "credentials"
        spool.wait(write(accounts.add, account("app7", "pencil")))
        assert check("pen") == "credentials"
        assert check("pencil") == "app7"
        spool.wait(write(accounts.replace_keys, account("app7", "crayon")))
        assert check("crayon") == "app7"
        spool.wait(write(accounts.replace_keys, account("app7", "chalk")))
        spool.wait(write(accounts.disable, "app7"))
        assert check("chalk") == "disabled"
        spool.wait(write(accounts.enable, "app7"))
        assert check("chalk") == "app7"
        spool.wait(write(accounts.replace_keys, account("app7", "slate")))
        spool.wait(write(accounts.remove, "app7"))
        assert check("slate") == "credentials"
    finally:
        checked.stop()


@pytest.mark.parametrize("login", ["a\0b", "\ud800", "' OR ''='", "%", "*", "app7\n", "\u0000"])
def test_attack_names(spool: Any, login: str):
    """Attack: names that SQL, patterns or logs could trip over are simply unknown."""
    reactor = SimpleNamespace(callFromThread=spool.reactor.callFromThread, seconds=monotonic)
    checked = Accounts(spool.database, reactor)
    checked.start()
    spool.wait(spool.database.write(accounts.add, account("app7", "pencil")))
    try:
        with pytest.raises(AuthenticationFailed):
            spool.wait(checked.check(login, "pencil"))
    finally:
        checked.stop()
