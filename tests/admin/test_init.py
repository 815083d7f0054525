"""``mta init``: a working installation, private where it must be, and nothing overwritten."""

import os
import ssl
import stat
import sys
from datetime import UTC
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mta import config
from mta.admin.cli import cli
from mta.admin.invocation import Invocation
from mta.auth.passwords import Keys, verify
from mta.spool import accounts
from mta.spool.engine import create_engine, reading

_ANSWERS = ("--host-name", "relay.example.org", "--login", "app", "--non-interactive")


def _mta(*arguments, input=None, interactive=False):
    invocation = Invocation(environ={}, interactive=lambda: interactive, zone=UTC)
    return CliRunner(catch_exceptions=False).invoke(cli, arguments, input=input, obj=invocation)


def _account(directory: Path, login: str):
    url = config.load(directory / "mta.toml", {}).spool.url
    engine = create_engine(url)
    try:
        with reading(engine) as conn:
            return accounts.get(conn, login)
    finally:
        engine.dispose()


def _accepts(account, password: str) -> bool:
    keys = Keys(account.salt, account.iterations, account.stored_key, account.server_key)
    return verify(password, keys)


def test_by_options(tmp_path):
    """Options alone make configuration, certificate, key, spool and account; next steps follow."""
    target = tmp_path / "new" / "mta"
    result = _mta(
        "init",
        "--directory",
        str(target),
        *_ANSWERS,
        "--password-file",
        "-",
        "--smtps-port",
        "8465",
        "--submission-port",
        "8587",
        input="correct horse\nnext line\n",
    )
    assert result.exit_code == 0, result.output
    assert {path.name for path in target.iterdir()} == {
        "certificate.pem",
        "key.pem",
        "mta.toml",
        "spool",
    }
    settings = config.load(target / "mta.toml", {})
    assert settings.host_name == "relay.example.org"
    assert [(one.endpoint, one.tls, one.auth) for one in settings.listener] == [
        ("tcp:8465", "implicit", "required"),
        ("tcp:8587", "starttls", "required"),
    ]
    assert _accepts(_account(target, "app"), "correct horse")
    assert f"twistd -n mta --config {target}/mta.toml" in result.stdout
    assert "swaks --server relay.example.org --port 8465 --tls-on-connect" in result.stdout
    assert "correct horse" not in result.output
    assert _mta("--config", str(target / "mta.toml"), "config", "check").exit_code == 0


def test_modes(tmp_path):
    """Key and spool are for the owner only, whatever the umask of the operator's shell is."""
    before = os.umask(0)
    try:
        assert _mta("init", "--directory", str(tmp_path), *_ANSWERS, "--generate").exit_code == 0
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in (*tmp_path.iterdir(), tmp_path / "spool" / "mta.sqlite")
    }
    assert modes == {
        "certificate.pem": 0o644,
        "key.pem": 0o600,
        "mta.toml": 0o644,
        "spool": 0o700,
        "spool/mta.sqlite": 0o600,
    }


def test_certificate(tmp_path):
    """The certificate is ECDSA P-256, for the host's name, and fits its key."""
    assert _mta("init", "--directory", str(tmp_path), *_ANSWERS, "--generate").exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["relay.example.org"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")


def test_generated_password(tmp_path):
    """A generated password is shown once and works."""
    result = _mta("init", "--directory", str(tmp_path), *_ANSWERS, "--generate")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("password")]
    password = line.split()[1]
    assert len(password) >= 20
    assert result.output.count(password) == 1
    assert _accepts(_account(tmp_path, "app"), password)
    assert password not in (tmp_path / "mta.toml").read_text()


def test_questions(tmp_path, monkeypatch):
    """What options leave open is asked for, with a guess at the name; the password twice."""
    monkeypatch.setattr("socket.getfqdn", lambda: "guess.example.org")
    result = _mta(
        "init",
        "--directory",
        str(tmp_path),
        interactive=True,
        input="\nprinter\nsecret one\nsecret two\nsecret one\nsecret one\n",
    )
    assert result.exit_code == 0, result.output
    assert "Host name [guess.example.org]" in result.stderr
    assert "do not match" in result.output
    assert config.load(tmp_path / "mta.toml", {}).host_name == "guess.example.org"
    assert _accepts(_account(tmp_path, "printer"), "secret one")


def test_questions_are_asked_again(tmp_path, monkeypatch):
    """A name that nobody can look up is not offered, and a wrong answer costs no other answer."""
    monkeypatch.setattr("socket.getfqdn", lambda: "localhost")
    answers = ["relay", "relay.example.org", "bad\x07login", "app", "secret", "secret"]
    result = _mta(
        *("init", "--directory", str(tmp_path)), interactive=True, input="\n".join(answers) + "\n"
    )
    assert result.exit_code == 0, result.output
    assert "Host name, such as mail.example.org: " in result.stderr
    assert 'must be fully qualified, such as "relay.example.org"' in result.stderr
    assert config.load(tmp_path / "mta.toml", {}).host_name == "relay.example.org"
    assert _accepts(_account(tmp_path, "app"), "secret")


def test_spool_elsewhere(tmp_path):
    """--spool puts the queue into another directory, as a read-only /etc wants it."""
    etc, var = tmp_path / "etc", tmp_path / "var"
    var.mkdir(mode=0o750)
    options = ("init", "--directory", str(etc), "--spool", str(var), *_ANSWERS, "--generate")
    assert _mta(*options).exit_code == 0
    assert config.load(etc / "mta.toml", {}).spool.url == f"sqlite:///{var}/mta.sqlite"
    assert not (etc / "spool").exists()
    for name in ("mta.toml", "certificate.pem", "key.pem"):
        (etc / name).unlink()
    result = _mta(*options)
    assert (result.exit_code, list(etc.iterdir())) == (73, [])
    assert f"{var}/mta.sqlite" in result.stderr
    assert stat.S_IMODE(var.stat().st_mode) == 0o750


def test_failure_leaves_a_directory_that_was_there(tmp_path):
    """What a failed run put into a spool directory of others goes, the directory stays."""
    var = tmp_path / "var"
    var.mkdir()
    (var / "mine").write_text("mine")
    options = ("--directory", str(tmp_path / "etc"), "--spool", str(var), "--owner", "no-such")
    assert _mta("init", *options, *_ANSWERS, "--generate").exit_code == 67
    assert [path.name for path in var.iterdir()] == ["mine"]
    assert not (tmp_path / "etc").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner(tmp_path):
    """The service's user gets key and spool; what it only reads it cannot change."""
    result = _mta(
        "init", "--directory", str(tmp_path), *_ANSWERS, "--generate", "--owner", "nobody"
    )
    assert result.exit_code == 0, result.output
    paths = [*tmp_path.iterdir(), tmp_path / "spool" / "mta.sqlite"]
    given = {path.name for path in paths if path.owner() == "nobody"}
    assert given == {"key.pem", "spool", "mta.sqlite"}
    assert f"{Path(sys.executable).parent}/twistd -n --uid nobody mta --config" in result.stdout


@pytest.mark.parametrize("missing", ["--host-name", "--login", "password"])
def test_nobody_to_ask(tmp_path, missing):
    """Without a terminal a missing answer is a usage error naming the option; nothing is made."""
    options = {"--host-name": "relay.example.org", "--login": "app", "password": "--generate"}
    del options[missing]
    given = [word for name, value in options.items() for word in (name, value)]
    given = [word for word in given if word != "password"]
    result = _mta("init", "--directory", str(tmp_path / "new"), *given)
    assert result.exit_code == 64
    assert missing in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("there", ["mta.toml", "certificate.pem", "key.pem", "spool"])
def test_never_overwrites(tmp_path, there):
    """Anything in the way is named with status 73; it stays as it is and nothing else is made."""
    (tmp_path / there).write_text("mine")
    result = _mta("init", "--directory", str(tmp_path), *_ANSWERS, "--generate")
    assert result.exit_code == 73
    assert str(tmp_path / there) in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_symbolic_link_in_the_way(tmp_path):
    """A planted symbolic link, even a dangling one, is not followed to write a key elsewhere."""
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    result = _mta("init", "--directory", str(tmp_path), *_ANSWERS, "--generate")
    assert result.exit_code == 73
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--host-name", "two words"), 64),
        (("--host-name", "relay"), 64),
        (("--login", ""), 64),
        (("--owner", "nobody-of-that-name"), 67),
        (("--smtps-port", "587"), 78),
        (("--smtps-port", "99999"), 64),
    ],
)
def test_all_or_nothing(tmp_path, options, status):
    """A wrong answer found late takes away all that was made, the directory too."""
    target = tmp_path / "new" / "mta"
    result = _mta("init", "--directory", str(target), *_ANSWERS, "--generate", *options)
    assert result.exit_code == status, result.output
    assert list(tmp_path.iterdir()) == []


def test_password_that_is_none(tmp_path):
    """An empty password file is bad input, a missing one no input; nothing is made."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for file, status in ((empty, 65), (tmp_path / "missing", 66)):
        result = _mta(
            "init", "--directory", str(tmp_path / "new"), *_ANSWERS, "--password-file", str(file)
        )
        assert (result.exit_code, (tmp_path / "new").exists()) == (status, False)


def test_a_file_where_the_directory_should_be(tmp_path):
    """A target that cannot be a directory is a clear error and not a traceback."""
    (tmp_path / "file").write_text("")
    result = _mta("init", "--directory", str(tmp_path / "file" / "x"), *_ANSWERS, "--generate")
    assert result.exit_code == 73
    assert result.stderr.startswith("mta: ")
