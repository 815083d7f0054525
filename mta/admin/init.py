"""``mta init``: a first working installation in one directory.

Writes a small configuration, a certificate of its own with its key, the spool and one
account.  Nothing that exists is ever touched: all targets are looked at first, and if a
later step fails, what was made is taken away again, so that the command can be repeated.

It does not make users, open firewalls or register services; it says what comes next.
"""

import os
import shutil
import socket
from collections.abc import Sequence
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
from mta.mail.address import ascii_domain
from mta.spool import accounts, engine
from mta.tls.selfsigned import self_signed


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
        return self.directory / "spool"

    @property
    def targets(self) -> tuple[Path, ...]:
        """All that is made."""
        return (self.certificate, self.key, self.spool, self.configuration)


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
    "--owner", metavar="USER", help="Give all files to USER, whom the service will run as (root)."
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
    _refuse_what_exists(Plan(directory))
    plan = Plan(
        directory,
        _host_name(
            _answer(invocation, asked.host_name, "Host name", "--host-name", socket.getfqdn())
        ),
        _login(_answer(invocation, asked.login, "Login of the first account", "--login", "app")),
        asked.smtps_port,
        asked.submission_port,
        asked.owner,
    )
    password = new_password(invocation, asked.password_file, asked.generate)
    _carry_out(plan, password, invocation)
    _tell(plan, password if asked.generate else None)


def _default_directory() -> Path:
    return Path("/etc/mta") if os.geteuid() == 0 else Path()


def _answer(
    invocation: Invocation, given: str | None, question: str, option: str, guess: str
) -> str:
    """Return what was given, or ask, with ``guess`` offered."""
    if given is not None:
        return given
    if not invocation.interactive():
        raise click.UsageError(f"{option} is missing, and there is no terminal to ask on.")
    typed: str = click.prompt(question, default=guess, err=True)
    return typed


def _host_name(text: str) -> str:
    try:
        return ascii_domain(text.strip())
    except ValueError as error:
        raise click.UsageError(f"Host name: {error}") from error


def _login(text: str) -> str:
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
    account = new_account(plan.login, password, invocation.now_ms())
    with all_or_nothing() as creation:
        if not plan.directory.exists():
            creation.directory(plan.directory)
        certificate, key = self_signed(plan.host_name, datetime.now(UTC))
        creation.file(plan.certificate, certificate, 0o644)
        creation.file(plan.key, key, 0o600)
        creation.directory(plan.spool, 0o700)
        text = configuration(plan.host_name, plan.smtps_port, plan.submission_port)
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
            _give(plan, creation.made, plan.owner)


def _give(plan: Plan, made: Sequence[Path], owner: str) -> None:
    """Make ``owner`` the owner of all that was made."""
    for path in (*made, *plan.spool.iterdir()):
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
        ("spool", plan.spool),
    ):
        say(f"made {what:<14} {path}")
    say(f"made {'account':<14} {plan.login}")
    if generated is not None:
        note("The password is shown this once:")
        say(f"password            {generated}")
    identity = f" --uid {plan.owner}" if plan.owner else ""
    say()
    say("Next, start the service (SIGTERM stops it, SIGHUP reloads it; without -n it is a daemon):")
    say(f"  twistd -n{identity} mta --config {plan.configuration}")
    say("and send a message through it:")
    say(
        f"  swaks --server {plan.host_name} --port {plan.smtps_port} --tls-on-connect"
        f" --tls-verify --tls-ca-path {plan.certificate} --auth PLAIN --auth-user {plan.login}"
        f" --from you@{plan.host_name} --to SOMEBODY@EXAMPLE.ORG"
    )
    say("See what became of it:")
    say(f"  mta --config {plan.configuration} queue list")
