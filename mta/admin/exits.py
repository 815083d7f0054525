"""How a command ends: the statuses of sysexits.h, and the error that carries one.

Scripts read these numbers, so they are part of the program's interface: 0 done,
1 nothing matched (or the operator said no), 64 and above as sysexits.h has them.
"""

from enum import IntEnum

import click


class Exit(IntEnum):
    """Exit statuses; the names are those of sysexits.h in plain words."""

    DONE = 0
    NOTHING = 1  # the filter matched nothing, or the answer was no
    WOULD_FAIL = 2  # explain: the message would be refused, or come back
    USAGE = 64
    DATA = 65  # input (a list of ids, a password file) is not what it should be
    NO_INPUT = 66  # a named input file cannot be read
    NO_USER = 67  # no such account
    UNAVAILABLE = 69  # the spool cannot be used, or nobody answers there
    CANNOT_CREATE = 73  # a file is already there, or the directory refuses it
    TEMPORARY = 75  # the spool is busy: the same command may work in a moment
    NO_PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130  # Ctrl-C, as shells report it


class Failure(click.ClickException):
    """An expected fault: one line on stderr, and a status.  Never a traceback."""

    def __init__(self, status: Exit, message: str) -> None:
        super().__init__(message)
        self.status = status
