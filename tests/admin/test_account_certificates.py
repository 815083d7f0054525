"""``mta account certificate``: marks of certificates, from files and as they are typed."""

from datetime import UTC, datetime

import pytest
from cryptography import x509

from mta.auth.passwords import SHA1, Keys, derive, verify
from mta.spool import accounts
from mta.tls.certificates import self_signed
from mta.tls.clients import describe


@pytest.fixture
def book(relay):
    """A relay with two accounts."""
    for login in ("app7", "app8"):
        relay.run("account", "add", login, "--password-file", "-", input="secret\n")
    return relay


@pytest.fixture
def file(tmp_path):
    """A certificate for app7.example.org."""
    path = tmp_path / "client.pem"
    path.write_bytes(self_signed("app7.example.org", datetime.now(UTC))[0])
    return path


def listed(relay):
    """What is listed."""
    return [
        (one["login"], one["kind"], one["value"])
        for one in relay.json("account", "certificate", "list")
    ]


def test_from_a_file(book, file):
    """A file gives its fingerprint, its names or its subject, and takes them away again."""
    mark = describe(x509.load_pem_x509_certificate(file.read_bytes()))
    added = book.run("account", "certificate", "add", "app7", str(file))
    assert added.output == f"app7: fingerprint {mark.fingerprint}\n"
    for kind in ("name", "subject"):
        book.run("account", "certificate", "add", "app7", str(file), "--kind", kind)
    assert listed(book) == [
        ("app7", "fingerprint", mark.fingerprint),
        ("app7", "name", "dns:app7.example.org"),
        ("app7", "subject", mark.subject),
    ]
    assert "dns:app7.example.org" in book.run("account", "certificate", "list", "app7").output
    for kind in ("fingerprint", "name", "subject"):
        removed = book.run("account", "certificate", "remove", "app7", str(file), "--kind", kind)
        assert removed.exit_code == 0
    assert listed(book) == []
    assert book.run("account", "certificate", "remove", "app7", str(file)).exit_code == 1


def test_as_typed(book):
    """Fingerprints with colons, names with their type, subjects as they are."""
    digits = ":".join(["AB"] * 32)
    book.run("account", "certificate", "add", "app7", digits)
    book.run("account", "certificate", "add", "app7", "dns:App7.Example", "--kind", "name")
    book.run("account", "certificate", "add", "app8", "CN=app8,O=Example", "--kind", "subject")
    assert listed(book) == [
        ("app7", "fingerprint", "ab" * 32),
        ("app7", "name", "dns:app7.example"),
        ("app8", "subject", "CN=app8,O=Example"),
    ]


def test_refusals(book, tmp_path):
    """What is no mark, who is no account, and what is somebody else's."""
    add = ("account", "certificate", "add")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    book.run(*add, "app7", "ab" * 32)
    assert book.run(*add, "app8", "ab" * 32).exit_code == 73
    assert book.run(*add, "nobody", "cd" * 32).exit_code == 67
    assert book.run(*add, "app7", "abc").exit_code == 64
    assert book.run(*add, "app7", "app7.example", "--kind", "name").exit_code == 64
    assert book.run(*add, "app7", str(wrong)).exit_code == 65
    assert listed(book) == [("app7", "fingerprint", "ab" * 32)]


def test_removing_the_account(book):
    """An account's marks go with it: the next one of that name does not inherit them."""
    book.run("account", "certificate", "add", "app7", "ab" * 32)
    assert book.run("account", "remove", "app7", "--yes").exit_code == 0
    assert listed(book) == []


def test_sha1_keys(book):
    """``add`` and ``passwd`` store keys for both hashes, each with a salt of its own."""
    for password in ("secret", "other"):
        row = book.read(accounts.get, "app7")
        assert row.salt != row.sha1_salt
        keys = Keys(row.sha1_salt, row.sha1_iterations, row.sha1_stored_key, row.sha1_server_key)
        assert not verify(password, keys)  # they are another hash's
        assert derive(password, keys.salt, keys.iterations, SHA1) == keys
        book.run("account", "passwd", "app7", "--password-file", "-", input="other\n")
