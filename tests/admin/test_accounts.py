"""``mta account``: passwords never as arguments, changes that are told, refusals that are clear."""

import json

import pytest

from mta.auth.passwords import Keys, verify
from mta.spool import accounts


def _accepts(relay, login: str, password: str) -> bool:
    account = relay.read(accounts.get, login)
    keys = Keys(account.salt, account.iterations, account.stored_key, account.server_key)
    return verify(password, keys)


@pytest.fixture
def printer(local):
    """Add an account to a relay on SQLite."""
    result = local.run("account", "add", "printer", "--password-file", "-", input="old password\n")
    assert (result.output, result.exit_code) == ("added printer\n", 0)
    return local


def test_add_and_list(relay):
    """An account is added from standard input and listed; nothing secret is in the listing."""
    relay.run("account", "add", "app7", "--password-file", "-", input="secret\r\n")
    assert _accepts(relay, "app7", "secret")
    assert relay.run("account", "list").output == (
        "LOGIN  STATE    SINCE\napp7   enabled  2027-01-15 08:00:00Z\n"
    )
    assert relay.json("account", "list") == [
        {"login": "app7", "disabled": False, "created_ms": relay.now}
    ]


def test_password_from_a_file(local, tmp_path):
    """The first line of a file is the password, without its line end."""
    file = tmp_path / "password"
    file.write_text("  with spaces \nsecond line\n")
    assert local.run("account", "add", "app", "--password-file", str(file)).exit_code == 0
    assert _accepts(local, "app", "  with spaces ")


def test_prompt(local):
    """On a terminal the password is asked for twice and never shown."""
    result = local.run("account", "add", "app", interactive=True, input="geheim\ngeheim\n")
    assert result.exit_code == 0
    assert "geheim" not in result.output
    assert _accepts(local, "app", "geheim")


def test_generated(local):
    """A generated password is printed once, alone on its line."""
    result = local.run("account", "add", "app", "--generate")
    _, password = result.stdout.splitlines()
    assert _accepts(local, "app", password)


def test_new_password(printer):
    """A new password replaces the old one."""
    printer.run("account", "passwd", "printer", "--password-file", "-", input="new password\n")
    assert not _accepts(printer, "printer", "old password")
    assert _accepts(printer, "printer", "new password")


def test_disable_enable_remove(printer):
    """An account is disabled, enabled and, when agreed to, removed."""
    assert printer.run("account", "disable", "printer").output == "disabled printer\n"
    assert printer.read(accounts.get, "printer").disabled
    assert printer.run("account", "enable", "printer").exit_code == 0
    assert not printer.read(accounts.get, "printer").disabled
    assert printer.run("account", "remove", "printer").exit_code == 64
    assert printer.run("account", "remove", "printer", interactive=True, input="n\n").exit_code == 1
    assert printer.read(accounts.get, "printer") is not None
    assert printer.run("account", "remove", "printer", "--yes").exit_code == 0
    assert printer.read(accounts.get, "printer") is None


def test_twice(printer):
    """An account that is there is not replaced: status 73."""
    result = printer.run("account", "add", "printer", "--generate")
    assert result.exit_code == 73
    assert _accepts(printer, "printer", "old password")


@pytest.mark.parametrize("verb", ["passwd", "disable", "enable", "remove"])
def test_unknown_login(local, verb):
    """A login that is not there is status 67 and one line."""
    more = {"passwd": ("--generate",), "remove": ("--yes",)}.get(verb, ())
    result = local.run("account", verb, "nobody", *more)
    assert (result.exit_code, result.stderr) == (67, "mta: there is no account 'nobody'\n")


@pytest.mark.parametrize(
    ("arguments", "input", "status"),
    [
        (("app",), None, 64),  # nobody to ask
        (("app", "--generate", "--password-file", "-"), "x\n", 64),
        (("app", "--password-file", "-"), "", 65),
        (("app", "--password-file", "-"), "tab\there\n", 65),
        (("app\x1b[2J", "--generate"), None, 64),
        (("app", "--password-file", "/nonexistent/file"), None, 66),
    ],
)
def test_what_cannot_be(local, arguments, input, status):
    """Missing, contradictory or impossible passwords and logins are refused; nothing is added."""
    result = local.run("account", "add", *arguments, input=input)
    assert result.exit_code == status, result.output
    assert local.read(accounts.everyone) == []
    assert "\x1b" not in result.output


def test_no_password_argument(local):
    """A password on the command line, where every user of the host could read it, is refused."""
    assert local.run("account", "add", "app", "secret").exit_code == 64
    assert local.run("account", "add", "app", "--password", "secret").exit_code == 64


def test_json_lines(printer):
    """Each account is one line of JSON."""
    printer.run("account", "add", "app", "--generate")
    lines = printer.run("account", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["login"] for line in lines] == ["app", "printer"]
