"""The ``mta`` command: its options and its commands."""

from pathlib import Path

import click

from mta import __version__
from mta.admin.program import Program

_EPILOG = """\
Exit status: 0 done, 1 nothing matched, 2 would fail (explain), 64 wrong usage, 65 bad input,
67 no such account, 69 spool unusable (status: no service runs), 73 a file is in the way,
75 spool busy (try again), 77 permission denied, 78 wrong configuration.

Completion for bash (zsh, fish alike): eval "$(_MTA_COMPLETE=bash_source mta)"
"""

_COMMANDS = {
    "account": ("mta.admin.accounts", "Manage the accounts that may submit mail."),
    "alias": ("mta.admin.alias", "Show what mail for ADDRESS comes to."),
    "brake": ("mta.admin.brake", "See and release logins that send far more than they ever do."),
    "cause": ("mta.admin.cause", 'Say what REPLY ("550 5.7.1 ...") means.'),
    "config": ("mta.admin.config_commands", "Look at the configuration."),
    "db": ("mta.admin.database_commands", "Look after the schema of the spool."),
    "dkim": ("mta.admin.dkim_commands", "Manage the keys that mail is signed with."),
    "explain": ("mta.admin.explain", "Say where mail for ADDRESS would go now, how, and why."),
    "init": ("mta.admin.init", "Write a working configuration, certificate and first account."),
    "queue": ("mta.admin.queue_commands", "Look at the queue, and change it."),
    "resume": ("mta.admin.restraints", "End suspensions."),
    "retry-plan": (
        "mta.admin.retry_plan",
        "Show when mail that is put off is tried again, is late, and is given up.",
    ),
    "status": ("mta.admin.status", "Show whether the service runs, and how the queue is."),
    "sts": ("mta.admin.sts_commands", "Look at what domains promise about TLS (MTA-STS)."),
    "suppress": ("mta.admin.suppress", "Keep mail from going to addresses and domains."),
    "suspend": ("mta.admin.restraints", "Dial nobody for some mail."),
    "throttle": ("mta.admin.restraints", "See and revoke what replies have led to."),
    "tls": ("mta.admin.tls_report", "See how private mail has travelled."),
    "top": ("mta.admin.top", "Watch the queue at work."),
    "trace": ("mta.admin.trace", "Tell the whole life of a message, also after it has left."),
    "why": ("mta.admin.why", "Say where mail is, and why."),
}
"""The module of each command, and what the command does: a beginning of its own help."""


@click.group(
    "mta",
    cls=Program,
    elsewhere=_COMMANDS,
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
    from mta.admin.invocation import Invocation  # noqa: PLC0415 - brings the settings along

    invocation = ctx.ensure_object(Invocation)
    if config_file is not None:
        invocation.config_file = config_file
    ctx.call_on_close(invocation.close)
