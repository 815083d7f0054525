"""The ``mta`` command: its options, its groups, and how it ends.

``Program.main`` is the one place where an expected fault becomes a line on stderr and a
status of ``mta.admin.exits``; everything else raises.  An unexpected exception is a bug
and keeps its traceback.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mta import __version__
from mta.admin.accounts import account
from mta.admin.alias import alias
from mta.admin.brake import brake
from mta.admin.cause import cause
from mta.admin.config_commands import config
from mta.admin.database_commands import db
from mta.admin.dkim_commands import dkim
from mta.admin.exits import Exit, Failure
from mta.admin.explain import explain
from mta.admin.init import init
from mta.admin.invocation import Invocation
from mta.admin.queue_commands import queue
from mta.admin.render import note, visible
from mta.admin.restraints import resume, suspend, throttle
from mta.admin.retry_plan import retry_plan
from mta.admin.status import status
from mta.admin.sts_commands import sts
from mta.admin.suppress import suppress
from mta.admin.tls_report import tls
from mta.admin.top import top
from mta.admin.trace import trace
from mta.admin.why import why
from mta.config import ConfigError
from mta.spool.errors import SpoolUnavailable, SpoolUnusable

_EPILOG = """\
Exit status: 0 done, 1 nothing matched, 2 would fail (explain), 64 wrong usage, 65 bad input,
67 no such account, 69 spool unusable (status: no service runs), 73 a file is in the way,
75 spool busy (try again), 77 permission denied, 78 wrong configuration.

Completion for bash (zsh, fish alike): eval "$(_MTA_COMPLETE=bash_source mta)"
"""


class Program(click.Group):
    """A group that ends with the statuses of sysexits.h."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command and leave the process with its status."""
        status = Exit.DONE
        try:
            ended = super().main(args, prog_name, complete_var, False, **extra)
            status = Exit(ended) if isinstance(ended, int) else Exit.DONE
            sys.stdout.flush()
        except BrokenPipeError:
            _stop_writing()
        except Exception as error:
            status = _explain(error)
        sys.exit(int(status))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see to it that ``| head`` is not taken for a fault."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _stop_writing()
            return Exit.DONE


def _stop_writing() -> None:
    """The reader of our output has left (``| head``): that is no fault of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> Exit:
    """Say on stderr what is wrong and return the status; raise again what we don't know."""
    if isinstance(error, click.UsageError):
        error.show()
        return Exit.USAGE
    text, status = _words(error)
    for line in text.splitlines():
        note(f"mta: {visible(line)}")
    return status


def _words(error: Exception) -> tuple[str, Exit]:  # noqa: PLR0911 - one for each kind
    """Return what to say and the status; raise again what is no expected fault."""
    match error:
        case click.Abort():
            return "interrupted", Exit.INTERRUPTED
        case Failure():
            return error.message, error.status
        case click.ClickException():  # a file that click itself could not open
            return error.format_message(), Exit.NO_INPUT
        case ConfigError():
            denied = isinstance(error.__context__, PermissionError)
            return str(error), Exit.NO_PERMISSION if denied else Exit.CONFIG
        case SpoolUnusable():
            denied = isinstance(error.__cause__, PermissionError)
            return str(error), Exit.NO_PERMISSION if denied else Exit.UNAVAILABLE
        case SpoolUnavailable():
            return f"the spool cannot be used now: {error}", Exit.TEMPORARY
        case PermissionError():
            return f"{error.filename}: permission denied", Exit.NO_PERMISSION
    raise error


@click.group(
    "mta",
    cls=Program,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    "config_file",
    envvar="MTA_CONFIG",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration; else $MTA_CONFIG, ./mta.toml, /etc/mta/mta.toml.",
)
@click.version_option(__version__, prog_name="mta")
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None) -> None:
    """Inspect and operate the mail relay.

    Works on the spool itself, whether the service is running or not; a running service
    takes notice of changes within a second.
    """
    invocation = ctx.ensure_object(Invocation)
    if config_file is not None:
        invocation.config_file = config_file
    ctx.call_on_close(invocation.close)


_READING = (queue, top, trace, why, explain, retry_plan, tls, status)
_HOLDING = (suspend, resume, throttle, brake, suppress, cause)
_COMMANDS = (*_READING, *_HOLDING, alias, account, dkim, sts, config, db, init)
for _command in _COMMANDS:
    cli.add_command(_command)
