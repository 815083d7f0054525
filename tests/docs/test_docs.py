"""The documents are true of the code: what can be checked, is."""

import re
import shlex
from pathlib import Path

import click
import pytest
from alembic.script import ScriptDirectory

from mta.__main__ import cli
from mta.admin.exits import Exit
from mta.spool.migrations import configuration
from mta.spool.schema import REVISION

_PAGES = (
    "operation",
    "configuration",
    "dkim",
    "submission",
    "tracing",
    "tls",
    "addresses",
    "causes",
)
ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "docs" / "rfc-index.rst").read_text()
OPERATION = (ROOT / "docs" / "operation.rst").read_text()
PAGES = ("README.rst", *(f"docs/{name}.rst" for name in _PAGES))


def test_every_cited_rfc_is_in_the_index() -> None:
    """A comment cannot cite a standard that the index does not know."""
    listed = set(re.findall(r"^(\d{4})  ", INDEX, re.MULTILINE))
    cited = {
        number
        for path in (ROOT / "mta").rglob("*.py")
        for number in re.findall(r"RFC ?(\d{3,5})\b", path.read_text())
    }
    assert cited - listed == set()


def test_everything_the_index_names_exists() -> None:
    """Modules and tests of the index are files or directories of the project."""
    named = set(re.findall(r"\b((?:mta|tests)/[\w/]+(?:\.py)?)", INDEX))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_documents_named_in_the_readme_exist() -> None:
    """A reader of the README finds every document it points to."""
    named = re.findall(r"``(docs/[\w/.-]+|etc/[\w.]+)``", (ROOT / "README.rst").read_text())
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.rst")}
    assert pages - set(named) == set()  # and every page is named


def test_no_module_is_too_long() -> None:
    """Files stay short enough to be read: 400 lines at most."""
    lengths = {
        str(path.relative_to(ROOT)): path.read_text().count("\n")
        for path in (ROOT / "mta").rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def commands(page: str) -> list[list[str]]:
    """Return the ``mta`` commands that a page shows, as words."""
    shown = re.findall(r"^    (?:\S+/)?mta ([a-z].*)$", (ROOT / page).read_text(), re.MULTILINE)
    return [shlex.split(re.split(r"[|#&]", line)[0]) for line in shown]


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_typed_as_they_stand(page: str) -> None:
    """Each command of the documents exists, with its options and their values."""
    assert commands(page)
    for words in commands(page):
        command, rest = resolved(words)
        assert command.make_context(command.name, rest).params is not None


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that is meant, and what is left for it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    return command, words


def test_every_exit_status_is_explained() -> None:
    """docs/operation.rst has each status that a command can end with."""
    start = OPERATION.index("Exit statuses of the command line")
    listed = OPERATION[start : OPERATION.index("\nLogs\n")]
    wanted = {int(status) for status in Exit}
    assert {int(number) for number in re.findall(r"(?:^|, )(\d+)(?=[, ])", listed, re.M)} >= wanted


def test_migrations_are_one_line() -> None:
    """Two revisions that follow the same one are no conflict for git, and no spool can be made."""
    script = ScriptDirectory.from_config(configuration())
    assert script.get_heads() == [REVISION]
