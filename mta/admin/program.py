"""The group of all commands: how a command is found, and how it ends.

``Program.main`` is the one place where an expected fault becomes a line on stderr and a
status of ``mta.admin.exits``; everything else raises.  An unexpected exception is a bug
and keeps its traceback.

What a command needs is imported when it is called, so that ``--help``, a wrong word and the
completion of one do not wait for the database's and the reactor's libraries.
"""

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from mta.admin.exits import Exit, Failure
from mta.admin.render import note, visible


class Program(click.Group):
    """A group that ends with the statuses of sysexits.h.

    ``elsewhere`` has its commands by name: the module, and what it does in a few words.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self._elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it if need be."""
        if cmd_name not in self.commands and cmd_name in self._elsewhere:
            with _nothing_collected():
                module = import_module(self._elsewhere[cmd_name][0])
            self.add_command(getattr(module, cmd_name.replace("-", "_")))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and what they do, without an import."""
        words = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        words |= {name: said for name, (_, said) in self._elsewhere.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(words.items()))

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


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Look for no garbage while modules are read, which leave none, nor in them ever after.

    A fifth of the time that a command takes to begin went into that.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


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
    from mta.config.problems import ConfigError  # noqa: PLC0415 - they bring their libraries along
    from mta.spool.errors import SpoolUnavailable, SpoolUnusable  # noqa: PLC0415

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
