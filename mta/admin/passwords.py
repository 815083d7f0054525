"""Where a command gets a new password from: never from an argument.

Arguments show up in process listings and shell histories.  A password comes from a
prompt (twice), from a file or standard input, or is made here and printed once.
"""

import secrets
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation
from mta.auth.passwords import SHA256, Keys, new_keys

_Command = TypeVar("_Command", bound=Callable[..., Any])
_LONGEST_LINE = 4096


def password_options(command: _Command) -> _Command:
    """Add ``--password-file`` and ``--generate`` to a command."""
    command = click.option(
        "--generate", is_flag=True, help="Make a password and print it, this once."
    )(command)
    return click.option(
        "--password-file",
        metavar="FILE",
        help="Read the password from the first line of FILE; '-' is standard input.",
    )(command)


def new_password(invocation: Invocation, file: str | None, generate: bool) -> str:
    """Return the password that the options ask for, or the one that the operator types."""
    if file is not None and generate:
        raise click.UsageError("--password-file and --generate exclude each other.")
    if generate:
        return secrets.token_urlsafe(18)
    if file is not None:
        return _first_line(file)
    if not invocation.interactive():
        raise click.UsageError(
            "No terminal to ask for a password on: use --password-file or --generate."
        )
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def keys_of(password: str, hash_name: str = SHA256) -> Keys:
    """Derive what is stored; ``Failure`` (DATA) if the password cannot be one."""
    try:
        return new_keys(password, hash_name=hash_name)
    except ValueError as error:
        raise Failure(Exit.DATA, f"the password {error}") from error


def _first_line(file: str) -> str:
    try:
        if file == "-":
            line = sys.stdin.buffer.readline(_LONGEST_LINE)
        else:
            with open(file, "rb") as stream:  # noqa: PTH123 (a name as it was typed)
                line = stream.readline(_LONGEST_LINE)
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Failure(Exit.DATA, "the password is not UTF-8") from error
    except PermissionError:
        raise
    except OSError as error:
        raise Failure(Exit.NO_INPUT, f"{file}: {error.strerror}") from error
    if not text:
        raise Failure(Exit.DATA, "the first line is empty: no password there")
    return text
