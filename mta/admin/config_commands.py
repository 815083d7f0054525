"""``mta config``: is it right, what is in force, what could be said."""

from pathlib import Path

import click

from mta.admin.config_diff import diff
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import json_line, note, say, visible
from mta.config import ConfigError
from mta.config.sample import sample as annotated
from mta.config.show import effective, schema
from mta.config.show import show as as_toml


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each problem.")
@pass_invocation
def check(invocation: Invocation, as_json: bool) -> Exit:
    """Check the configuration and the files it names; exit status 78 if anything is wrong.

    Tells all that is wrong, not only the first.  Run it as the user that the service runs as:
    a key that you cannot read counts as wrong.
    """
    path = invocation.path
    from mta.admin.config_check import check_files  # noqa: PLC0415 - the whole service

    try:
        problems, doubts = check_files(invocation.settings, path)
    except ConfigError as error:
        problems, doubts = list(error.problems), []
    for problem in problems:
        if as_json:
            json_line({"file": str(problem.file), "key": problem.where, "text": problem.text})
        else:
            note(visible(str(problem)))
    for doubt in doubts:
        note(f"warning: {visible(doubt)}")
    if problems:
        return Exit.CONFIG
    if not as_json:
        say(f"{path}: no mistakes found")
    return Exit.DONE


@config.command()
@click.option("--changed", is_flag=True, help="Only what the file sets, without the defaults.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def show(invocation: Invocation, changed: bool, as_json: bool) -> None:
    """Show the settings in force.  Secrets are not shown."""
    if as_json:
        json_line(effective(invocation.settings, changed))
    else:
        say(as_toml(invocation.settings, changed).rstrip("\n"))


@config.command("diff")
@click.option(
    "--against", type=click.Choice(["queue"]), required=True, help="What waits in the queue."
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each change.")
@pass_invocation
def diff_(invocation: Invocation, against: str, file: Path | None, as_json: bool) -> Exit:
    """Say what waits in the queue and would be treated otherwise by FILE, or by the file as it is
    written now, than by the running service: route, sender told, source, TLS, shaping.

    Exit status 1 if anything would be.
    """
    assert against == "queue"
    return diff(invocation, file, as_json)


@config.command()
def sample() -> None:
    """Print an annotated configuration: every key, what it means, its default."""
    say(annotated().rstrip("\n"))


@config.command("schema")
def schema_() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    json_line(schema())
