"""Tokens and client certificates end at an account of the table, or nowhere."""

from types import SimpleNamespace
from typing import Any

import pytest

from mta.auth.credentials import Accounts, AuthenticationFailed, AuthenticationUnavailable
from mta.spool import accounts, certificates
from mta.spool.accounts import Account
from mta.spool.certificates import Mapping
from mta.spool.errors import SpoolUnavailable
from mta.tls.clients import ClientCertificate

PRINT = "ab" * 32


class Issuer:
    """Stands in for ``Tokens``: the token is the login."""

    async def login(self, token: str) -> str:
        if token == "bad":
            raise AuthenticationFailed("token expired")
        return token


@pytest.fixture
def book(spool: Any) -> Any:
    """Three accounts, one disabled, and certificates."""
    checked = Accounts(spool.database, SimpleNamespace(seconds=lambda: 0.0))
    checked.use(Issuer())  # type: ignore[arg-type]
    for login in ("app7", "app8", "gone"):
        row = Account(login, b"s", 1, b"k", b"k", login == "gone", 1)
        spool.wait(spool.database.write(accounts.add, row))
    for kind, value, login in (
        ("fingerprint", PRINT, "app7"),
        ("name", "dns:app7.example.org", "app7"),
        ("name", "email:app8@example.org", "app8"),
        ("subject", "CN=app8", "app8"),
        ("subject", "CN=gone", "gone"),
    ):
        spool.wait(spool.database.write(certificates.add, Mapping(kind, value, login, 1)))

    def result(deferred: Any) -> str:
        try:
            return str(spool.wait(deferred))
        except AuthenticationFailed as error:
            return f"no: {error.reason}"

    def shown(wanted: str = "", fingerprint: str = "cd" * 32, **more: Any) -> str:
        return result(checked.check_certificate(ClientCertificate(fingerprint, **more), wanted))

    def token(text: str, wanted: str = "") -> str:
        return result(checked.check_token(text, wanted))

    return SimpleNamespace(shown=shown, token=token, accounts=checked, spool=spool)


def test_certificates(book: Any) -> None:
    """By fingerprint, by a name, by the subject."""
    assert book.shown(fingerprint=PRINT) == "app7"
    assert book.shown(names=("dns:other", "dns:app7.example.org")) == "app7"
    assert book.shown(subject="CN=app8") == "app8"
    assert book.shown(subject="CN=gone") == "no: disabled"
    assert book.shown(subject="CN=app9") == "no: certificate of no account"


def test_attack_names_that_nobody_vouches_for(book: Any) -> None:
    """Attack: a self-made certificate with an account's name in it."""
    forged = {"subject": "CN=app8", "names": ("dns:app7.example.org",), "trouble": "self-signed"}
    assert book.shown(**forged) == "no: self-signed"
    # the same certificate, if it is one that was pinned, is known by its fingerprint
    assert book.shown(fingerprint=PRINT, **forged) == "app7"
    assert book.shown(fingerprint=PRINT, trouble="expired", pinnable=False) == "no: expired"


def test_authorization_identity(book: Any) -> None:
    """Attack: acting for another.  It chooses between accounts of the certificate, no more."""
    assert book.shown("app7", fingerprint=PRINT) == "app7"
    assert book.shown("app8", fingerprint=PRINT) == "no: certificate of no account"
    both = {"names": ("dns:app7.example.org", "email:app8@example.org")}
    assert book.shown(**both) == "no: certificate of several accounts"
    assert book.shown("app8", **both) == "app8"
    assert book.shown("a\0", **both) == "no: credentials"


def test_removed_account(book: Any) -> None:
    """An account that is removed takes its certificates with it."""
    assert book.spool.wait(book.spool.database.write(accounts.remove, "app7"))
    assert book.shown(fingerprint=PRINT) == "no: certificate of no account"
    assert book.spool.wait(book.spool.database.read(certificates.everything, "app7")) == []


def test_tokens(book: Any) -> None:
    """A good token is worth its account; whom else the client names it must be the same."""
    assert book.token("app7") == "app7"
    assert book.token("app7", "app7") == "app7"
    assert book.token("app7", "app8") == "no: token of another login"
    assert book.token("nobody") == "no: token without account"
    assert book.token("gone") == "no: disabled"
    assert book.token("a\0b") == "no: credentials"
    assert book.token("bad") == "no: token expired"


def test_back_end_down(book: Any, monkeypatch: Any) -> None:
    """A spool that is away is 454 for both; so is a token after OAuth was switched off."""

    def away(*args: Any) -> Any:
        raise SpoolUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(book.spool.database, "read", away)
        for ask in (lambda: book.token("app7"), lambda: book.shown(fingerprint=PRINT)):
            with pytest.raises(AuthenticationUnavailable):
                ask()
    book.accounts.use(None)
    with pytest.raises(AuthenticationUnavailable):
        book.token("app7")
