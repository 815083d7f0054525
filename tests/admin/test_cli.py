"""How ``mta`` ends: statuses, one line on stderr, no traceback for what can be expected."""

import os
import sqlite3
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import mta.__main__
from mta.admin.cli import _COMMANDS, cli
from mta.admin.invocation import Invocation
from mta.admin.queue_commands import _ELSEWHERE

NO_CONFIG = "no configuration: tried mta.toml and /nowhere/mta.toml"


def _bare(*arguments, environ=None):
    runner = CliRunner(catch_exceptions=False, env=environ)
    return runner.invoke(cli, arguments, obj=Invocation(environ={}))


def test_version_and_help():
    """The version and the help need no configuration; the help tells statuses and completion."""
    assert _bare("--version").output.startswith("mta, version ")
    result = _bare("--help")
    assert result.exit_code == 0
    for words in ("queue", "trace", "init", "demo", "78 wrong configuration", "_MTA_COMPLETE"):
        assert words in result.output


def test_what_the_help_says_of_commands_is_theirs():
    """Each command is where the table says, and begins its own help with the same words."""
    context = click.Context(cli)
    queue = cli.get_command(context, "queue")
    for name, (module, said) in (_COMMANDS | _ELSEWHERE).items():
        command = (queue if name in _ELSEWHERE else cli).get_command(context, name)
        assert command is not None and command.name == name
        assert getattr(import_module(module), name.replace("-", "_")) is command
        words = said.removesuffix(".").replace("addresses and domains", "addresses")
        assert command.get_short_help_str(500).startswith(words)


def test_the_help_waits_for_no_library():
    """What costs half a second to import is not needed to list the commands."""
    heavy = ("sqlalchemy", "pydantic", "twisted", "rich.console")
    code = (
        "import sys\nfrom mta.admin.cli import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.exit(repr([name for name in {heavy} if name in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr.strip(), "trace" in done.stdout) == ("''", True)


def test_a_look_waits_for_no_reactor():
    """An operator who looks at the queue waits for nothing that only sends mail needs."""
    heavy = ("twisted", "zope", "OpenSSL", "dns", "mta.delivery", "mta.queue", "mta.config.build")
    code = (
        "import sys\nfrom mta.admin import queue_commands, status, trace, why\n"
        f"sys.exit(repr([name for name in {heavy} if name in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("queue", "list", "--nonsense"), ("queue", "show"), ("trace",)]
)
def test_usage(arguments):
    """Wrong usage is status 64."""
    assert _bare(*arguments).exit_code == 64


def test_no_configuration(tmp_path, monkeypatch):
    """Without a configuration the places that were searched are told, status 78."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "mta.admin.invocation.SEARCHED", (Path("mta.toml"), Path("/nowhere/mta.toml"))
    )
    result = _bare("queue", "list")
    assert result.exit_code == 78
    assert result.stderr.startswith(f"mta: {NO_CONFIG}")


def test_configuration_is_found(local, monkeypatch):
    """It comes from $MTA_CONFIG, or from the working directory; --config wins."""
    assert _bare("queue", "list", environ={"MTA_CONFIG": str(local.config)}).exit_code == 0
    environ = {"MTA_CONFIG": "/nowhere/mta.toml"}
    assert _bare("--config", str(local.config), "queue", "list", environ=environ).exit_code == 0
    assert _bare("queue", "list", environ=environ).exit_code == 78
    monkeypatch.chdir(local.directory)
    assert _bare("queue", "list").exit_code == 0


def test_wrong_configuration(local):
    """All mistakes are told, each on a line with file and key, status 78."""
    local.config.write_text('host_nam = "relay.example.org"\n[limits]\nmessage_size = "lots"\n')
    result = local.run("queue", "list")
    assert result.exit_code == 78
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"mta: {local.config}: ") for line in lines)
    assert any('did you mean "host_name"' in line for line in lines)
    assert any("limits.message_size" in line for line in lines)


def test_unusable_spool(local):
    """A spool that is no database, or of an unknown schema, is one line and status 69."""
    path = Path(local.engine.url.database)
    local.engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE schema_support SET oldest = '9999'")
    result = local.run("queue", "list")
    assert result.exit_code == 69
    assert "mta db upgrade" in result.stderr
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"this is no database, though it is long enough to be one" * 100)
    result = local.run("queue", "list")
    assert result.exit_code == 69
    assert len(result.stderr.splitlines()) == 1


def test_busy_spool(local, monkeypatch):
    """A spool that another process keeps locked is status 75: the same command may work later."""
    monkeypatch.setattr("mta.spool.engine.BUSY_S", 0.05)
    monkeypatch.setattr("mta.admin.invocation.engine.prepare", lambda url: None)
    message = local.accept()
    other = sqlite3.connect(local.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    result = local.run("queue", "hold", message, "--yes")
    other.close()
    assert (result.exit_code, result.stdout) == (75, "")
    assert "locked" in result.stderr
    assert local.states(message) == ["queued"]


@pytest.fixture
def nobody():
    """Take root's privileges away for one test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_permission_denied(local, request):
    """A configuration that the operator may not read is status 77, in words."""
    local.config.chmod(0)
    request.getfixturevalue("nobody")
    result = local.run("queue", "list")
    assert (result.exit_code, result.stderr) == (
        77,
        f"mta: {local.config}: cannot be read: Permission denied\n",
    )


def test_reader_that_leaves(local):
    """``| head`` ends a listing without a traceback and without an error."""
    for _ in range(40):
        local.accept(*(f"user{n}@example.com" for n in range(100)))
    command = [sys.executable, "-m", "mta", "--config", str(local.config), "queue", "list"]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"id":')
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def test_database_commands(local):
    """The schema's revision is told, and a database that is empty is brought up to date."""
    assert local.run("db", "status").output.endswith(": up to date\n")
    (status,) = local.json("db", "status")
    assert (status["current"], status["usable"]) == (status["needed"], True)
    local.config.write_text(local.config.read_text().replace("spool.db", "other.db"))
    assert local.run("db", "status").exit_code == 69
    assert local.run("db", "upgrade").exit_code == 0
    assert local.run("db", "status").exit_code == 0


def test_demo_is_registered():
    """The console entry has the demonstration, which the layer below cannot know."""
    assert "demo" in mta.__main__.cli.commands


def test_start_is_quick():
    """What an operator types all day does not load what only the service and set-up need."""
    slow = {"alembic", "cryptography", "OpenSSL", "twisted.internet.endpoints", "psycopg", "dns"}
    program = "import sys, mta.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert slow & set(done.stdout.split()) == set()


def test_looking_at_a_queue_makes_none(tmp_path):
    """A wrong path is told, and no empty spool in root's name keeps the service from starting."""
    config = tmp_path / "mta.toml"
    config.write_text(
        'host_name = "relay.example.org"\n[[listener]]\nname = "inside"\nendpoint = "2525"\n'
        'tls = "none"\nauth = "none"\ntrusted_networks = ["127.0.0.0/8"]\n'
    )
    for command in (("queue", "list"), ("status",), ("trace", "a@b.example"), ("account", "list")):
        result = _bare("--config", str(config), *command)
        assert (result.exit_code, result.stdout) == (69, "")
        assert f"spool {tmp_path}/mta.sqlite: the file does not exist" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mta.toml"]
    assert _bare("--config", str(config), "account", "add", "app", "--generate").exit_code == 0
    assert _bare("--config", str(config), "queue", "list").exit_code == 0
