"""Passwords: read where they are needed, from files or credentials, and shown nowhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mta.config import ConfigError, Settings, build, show
from mta.config.secret import Secret

SMARTHOST = """
[[route]]
name = "provider"
[route.smarthost]
host = "smtp.example.com"
login = "relay"
"""

Configured = Callable[..., Settings]


def smarthost_password(settings: Settings) -> str:
    """Return what delivery would log in with."""
    target = build.routes(settings).choose("a@example.org", "example.net").target
    return target.password  # type: ignore[union-attr]


def test_from_a_file(configured: Configured, tmp_path: Path):
    """A relative path begins at the configuration; the line end is not the password's."""
    (tmp_path / "secret").write_text("hunter2 \n")

    assert smarthost_password(configured(SMARTHOST + 'password_file = "secret"')) == "hunter2 "


def test_from_a_credential(configured: Configured, tmp_path: Path):
    """systemd's LoadCredential= puts it into $CREDENTIALS_DIRECTORY."""
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "provider").write_text("hunter2")
    settings = configured(
        SMARTHOST + 'password_credential = "provider"',
        CREDENTIALS_DIRECTORY=str(tmp_path / "creds"),
    )

    assert smarthost_password(settings) == "hunter2"


def test_the_command_line_needs_no_right_to_them(configured: Configured):
    """Loading works without the credential; sending says which one is missing, all at once."""
    settings = configured(
        SMARTHOST
        + 'password_credential = "provider"'
        + SMARTHOST.replace('"provider"', '"second"')
        + 'password_file = "nowhere"'
    )

    with pytest.raises(ConfigError) as caught:
        build.delivery_settings(settings)
    first, second = caught.value.problems
    assert first.where == 'route["provider"].smarthost'
    assert "$CREDENTIALS_DIRECTORY is not set" in first.text
    assert second.where == 'route["second"].smarthost'
    assert "nowhere cannot be read: No such file" in second.text


def test_empty_or_binary_files(tmp_path: Path):
    """An empty secret is a mistake; one that is not text is not quoted in the error."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"hunter2\xff")

    with pytest.raises(ValueError, match="is empty"):
        Secret("empty", tmp_path / "empty").reveal()
    with pytest.raises(ValueError, match="is not UTF-8") as caught:
        Secret("binary", tmp_path / "binary").reveal()
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


def test_database_password_goes_into_the_url(configured: Configured, tmp_path: Path):
    """Quoted, so that any character may be in it."""
    (tmp_path / "secret").write_text("p@ss/w:rd\n")
    spool = '[spool]\nurl = "postgresql://mta@db.example/mta?sslmode=verify-full"\n'

    assert configured(spool + 'password_file = "secret"').spool.url == (
        "postgresql://mta:p%40ss%2Fw%3Ard@db.example/mta?sslmode=verify-full"
    )


def test_database_password_that_is_not_there(configured: Configured, tmp_path: Path):
    """The command line cannot do without it, so loading fails, at the key."""
    with pytest.raises(ConfigError) as caught:
        configured('[spool]\nurl = "postgresql://mta@db/mta"\npassword_credential = "db"')
    (problem,) = caught.value.problems
    assert problem.where == "spool.password_credential"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://mta:hunter2@db/mta", "postgresql://mta:***@db/mta"),
        ("postgresql://mta:hunter2/x@db/mta", "postgresql://mta:***@db/mta"),
        ("postgresql://:hunter2@db/mta", "postgresql://:***@db/mta"),
        ("postgresql://db/mta?user=mta&password=hunter2&x=y",
         "postgresql://db/mta?user=mta&password=***&x=y"),
        ("postgresql://mta:hunter2@db1:5433,db2/mta", "postgresql://mta:***@db1:5433,db2/mta"),
        ("postgresql:///mta?host=/run/postgresql", "postgresql:///mta?host=/run/postgresql"),
    ],
)  # fmt: skip
def test_no_secret_is_shown(configured: Configured, tmp_path: Path, url: str, shown: str):
    """Neither show, nor JSON, nor a repr in a traceback has a password in it."""
    (tmp_path / "secret").write_text("hunter2")
    settings = configured(f'[spool]\nurl = "{url}"\n{SMARTHOST}password_file = "secret"')

    assert show.effective(settings)["spool"]["url"] == shown
    assert settings.spool.url == url
    for text in (
        show.show(settings),
        show.show(settings, changed_only=True),
        repr(show.effective(settings)),
        repr(settings),
        str(settings),
        repr(build.delivery_settings(settings)),
        repr(build.routes(settings).choose("a@example.org", "example.net")),
    ):
        assert "hunter2" not in text
