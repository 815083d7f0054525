"""Runs many ``mta`` commands in processes of their own, and imports the program once for all.

Reads a JSON list of argument lists from standard input, and writes one of [output, status].
"""

import json
import os
import sys

import mta.admin.explained
from mta.admin.cli import cli


def run(arguments: list[str]) -> tuple[str, int]:
    """Run one in a child, which has a reactor of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        try:
            cli.main(arguments, prog_name="mta")
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(int(end.code or 0))
        os._exit(70)
    os.close(writing)
    with os.fdopen(reading) as stream:
        output = stream.read()
    return output, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    assert mta.admin.explained is not None
    json.dump([run(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
