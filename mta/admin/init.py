"""``mta init``: a first working installation in one directory.

Writes a small configuration, a certificate of its own with its key, the spool and one
account.  Nothing that exists is ever touched: all targets are looked at first, and if a
later step fails, what was made is taken away again, so that the command can be repeated.

It does not make users, open firewalls or register services; it says what comes next.
Configuration and certificate stay their maker's: the service needs only to read them.
"""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mta import config
from mta.admin.accounts import new_account
from mta.admin.creation import all_or_nothing
from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.passwords import new_password, password_options
from mta.admin.render import note, say
from mta.admin.template import configuration
from mta.auth.passwords import prepare_login
from mta.config.values import full_name
from mta.spool import accounts, engine


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command."""

    directory: Path | None
    host_name: str | None
    login: str | None
    password_file: str | None
    generate: bool
    smtps_port: int
    submission_port: int
    spool: Path | None
    owner: str | None
    non_interactive: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything goes, and what the operator has answered."""

    directory: Path
    host_name: str = ""
    login: str = ""
    smtps_port: int = 465
    submission_port: int = 587
    elsewhere: Path | None = None  # where the spool shall be, if not beside the configuration
    owner: str | None = None

    @property
    def configuration(self) -> Path:
        """The configuration file; written last, since it is what makes an installation."""
        return self.directory / "mta.toml"

    @property
    def certificate(self) -> Path:
        """The certificate, PEM; clients may be given it to trust."""
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        """Its private key, PEM, for the owner only."""
        return self.directory / "key.pem"

    @property
    def spool(self) -> Path:
        """Directory of the queue's database."""
        return self.elsewhere or self.directory / "spool"

    @property
    def database(self) -> Path:
        """The queue's database."""
        return self.spool / "mta.sqlite"

    @property
    def targets(self) -> tuple[Path, ...]:
        """All that must not be there; of a directory that was named, only what goes into it."""
        spool = self.database if self.elsewhere else self.spool
        return (self.certificate, self.key, spool, self.configuration)


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write everything; made if it is not there.  [default: /etc/mta for root,"
    " else the current directory]",
)
@click.option("--host-name", metavar="NAME", help="The relay's name in SMTP and its certificate.")
@click.option("--login", metavar="NAME", help="Login of the first account.")
@password_options
@click.option("--smtps-port", type=click.IntRange(1, 65535), default=465, show_default=True)
@click.option("--submission-port", type=click.IntRange(1, 65535), default=587, show_default=True)
@click.option(
    "--spool",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the queue's database.  [default: spool, beside the configuration]",
)
@click.option(
    "--owner", metavar="USER", help="Give key and spool to USER, whom the service will run as."
)
@click.option("--non-interactive", is_flag=True, help="Ask nothing; what is missing is an error.")
@pass_invocation
def init(invocation: Invocation, /, **options: Any) -> None:
    """Write a working configuration, certificate and first account.

    Asks for what it cannot know.  Never overwrites: exit status 73 if anything is in the way.
    """
    asked = Asked(**options)
    if asked.non_interactive:
        invocation.interactive = lambda: False
    directory = (asked.directory or _default_directory()).absolute()
    spool = asked.spool.absolute() if asked.spool is not None else None
    _refuse_what_exists(Plan(directory, elsewhere=spool))
    host_name, login = _host_name(invocation, asked), _login(invocation, asked)
    plan = Plan(
        directory,
        host_name,
        login,
        asked.smtps_port,
        asked.submission_port,
        spool,
        asked.owner,
    )
    password = new_password(invocation, asked.password_file, asked.generate)
    _carry_out(plan, password, invocation)
    _tell(plan, password if asked.generate else None)


def _default_directory() -> Path:
    return Path("/etc/mta") if os.geteuid() == 0 else Path()


def _host_name(invocation: Invocation, asked: Asked) -> str:
    ours = socket.getfqdn()
    local = "." not in ours or ours.startswith("localhost")
    guess = None if local else ours  # better none than one that nobody else can look up
    question = "Host name" if guess else "Host name, such as mail.example.org"
    given = asked.host_name
    return _answer(invocation, given, question, "--host-name", guess, _check_host_name)


def _login(invocation: Invocation, asked: Asked) -> str:
    question = "Login of the first account"
    return _answer(invocation, asked.login, question, "--login", "app", _check_login)


def _answer(
    invocation: Invocation,
    given: str | None,
    question: str,
    option: str,
    guess: str | None,
    check: Callable[[str], str],
) -> str:
    """Return what was given, or ask until it is right, with ``guess`` offered."""
    if given is not None:
        return check(given)
    if not invocation.interactive():
        raise click.UsageError(f"{option} is missing, and there is no terminal to ask on.")
    typed: str = click.prompt(question, default=guess, err=True, value_proc=check)
    return typed


def _check_host_name(text: str) -> str:
    try:
        return full_name(text.strip())
    except ValueError as error:
        raise click.UsageError(f"Host name: {error}") from error


def _check_login(text: str) -> str:
    try:
        return prepare_login(text.strip())
    except ValueError as error:
        raise click.UsageError(f"The login {error}") from error


def _refuse_what_exists(plan: Plan) -> None:
    there = [str(path) for path in plan.targets if path.exists() or path.is_symlink()]
    if there:
        raise Failure(
            Exit.CANNOT_CREATE,
            f"nothing written, for this is already there: {', '.join(there)}",
        )


def _carry_out(plan: Plan, password: str, invocation: Invocation) -> None:
    """Make everything, the configuration last but what needs it."""
    from mta.tls.selfsigned import self_signed  # noqa: PLC0415 - slow, and only needed here

    account = new_account(plan.login, password, invocation.now_ms())
    with all_or_nothing() as creation:
        if not plan.directory.exists():
            creation.directory(plan.directory)
        certificate, key = self_signed(plan.host_name, datetime.now(UTC))
        creation.file(plan.certificate, certificate, 0o644)
        creation.file(plan.key, key, 0o600)
        if not plan.spool.exists():
            creation.directory(plan.spool, 0o700)
        creation.made.append(plan.database)
        url = f"sqlite:///{plan.database if plan.elsewhere else 'spool/mta.sqlite'}"
        text = configuration(plan.host_name, url, plan.smtps_port, plan.submission_port)
        creation.file(plan.configuration, text.encode(), 0o644)
        url = config.load(plan.configuration, invocation.environ).spool.url
        engine.prepare(url)
        opened = engine.create_engine(url)
        try:
            with engine.writing(opened) as conn:
                accounts.add(conn, account)
        finally:
            opened.dispose()
        if plan.owner is not None:
            _give((plan.key, plan.spool, *plan.spool.glob("mta.sqlite*")), plan.owner)


def _give(paths: Iterable[Path], owner: str) -> None:
    """Make ``owner`` the owner of what the service writes, or must alone be able to read."""
    for path in paths:
        try:
            shutil.chown(path, user=owner)
        except LookupError as error:
            raise Failure(Exit.NO_USER, f"there is no user {owner!r}") from error


def _tell(plan: Plan, generated: str | None) -> None:
    """Say what was made and what comes next."""
    for what, path in (
        ("configuration", plan.configuration),
        ("certificate", plan.certificate),
        ("key", plan.key),
        ("spool", plan.database),
    ):
        say(f"made {what:<14} {path}")
    say(f"made {'account':<14} {plan.login}")
    if generated is not None:
        note("The password is shown this once:")
        say(f"password            {generated}")
    identity = f" --uid {plan.owner}" if plan.owner else ""
    where = Path(sys.executable).parent
    say()
    say("Next, start the service (SIGTERM stops it, SIGHUP reloads it; without -n it is a daemon):")
    say(f"  {where}/twistd -n{identity} mta --config {plan.configuration}")
    say("and send a message through it:")
    say(
        f"  swaks --server {plan.host_name} --port {plan.smtps_port} --tls-on-connect"
        f" --tls-verify --tls-ca-path {plan.certificate} --auth PLAIN --auth-user {plan.login}"
        f" --from you@{plan.host_name} --to SOMEBODY@EXAMPLE.ORG"
    )
    say("See what became of it:")
    say(f"  {where}/mta --config {plan.configuration} queue list")
