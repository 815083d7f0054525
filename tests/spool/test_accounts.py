"""The embedded accounts."""

from dataclasses import replace

from mta.spool import accounts, certificates
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


def test_secret_of_the_installation(table):
    """The first to ask for a secret makes it; everybody else gets the same."""
    assert table.read(certificates.known_secret, "scram") is None
    assert table.write(certificates.secret, "scram", b"first") == b"first"
    assert table.write(certificates.secret, "scram", b"second") == b"first"
    assert table.read(certificates.known_secret, "scram") == b"first"


def test_certificates(table):
    """A mark stands for one account; who comes second is told whose it is."""
    for login in ("app7", "app8"):
        table.write(accounts.add, replace(APP7, login=login))
    mark = certificates.Mapping("name", "dns:a", "app7", 1)
    assert table.write(certificates.add, mark) == "app7"
    assert table.write(certificates.add, replace(mark, login="app8")) == "app7"
    marks = [("fingerprint", "x"), ("name", "dns:a"), ("subject", "dns:b")]
    assert table.read(certificates.owners, marks) == [certificates.Owner("app7", False)]
    assert table.read(certificates.owners, []) == []
    assert table.write(certificates.remove, "app8", "name", "dns:a") is False
    assert table.write(certificates.remove, "app7", "name", "dns:a") is True
    assert table.read(certificates.everything) == []
