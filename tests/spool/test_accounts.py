"""The embedded accounts."""

from dataclasses import replace

from mta.spool import accounts
from mta.spool.accounts import Account

APP7 = Account("app7", b"salt", 10_000, b"stored\x00key", b"server\xffkey", False, 1_000)


def test_life(table):
    """An account is added once, disabled, enabled and removed; the answer says if it was there."""
    assert table.write(accounts.add, APP7) is True
    assert table.write(accounts.add, replace(APP7, salt=b"other")) is False
    assert table.read(accounts.get, "app7") == APP7
    assert table.write(accounts.disable, "app7") is True
    assert table.read(accounts.get, "app7") == replace(APP7, disabled=True)
    assert table.write(accounts.enable, "app7") is True
    assert table.write(accounts.remove, "app7") is True
    assert table.read(accounts.get, "app7") is None
    for verb in (accounts.disable, accounts.enable, accounts.remove):
        assert table.write(verb, "app7") is False
    assert table.write(accounts.replace_keys, APP7) is False


def test_new_keys(table):
    """New keys leave a disabled account disabled, and as old as it is."""
    table.write(accounts.add, replace(APP7, disabled=True))
    new = Account("app7", b"new", 20_000, b"s", b"k", False, 2_000)
    assert table.write(accounts.replace_keys, new) is True
    assert table.read(accounts.get, "app7") == replace(new, disabled=True, created_ms=1_000)


def test_everyone(table):
    """Accounts are listed by login."""
    for login in ("b", "a"):
        table.write(accounts.add, replace(APP7, login=login))
    assert [account.login for account in table.read(accounts.everyone)] == ["a", "b"]
