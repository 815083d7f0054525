"""The documents are true of the code: what can be checked, is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "docs" / "rfc-index.rst").read_text()


def test_every_cited_rfc_is_in_the_index() -> None:
    """A comment cannot cite a standard that the index does not know."""
    listed = set(re.findall(r"^(\d{4})  ", INDEX, re.MULTILINE))
    cited = {
        number
        for path in (ROOT / "mta").rglob("*.py")
        for number in re.findall(r"RFC ?(\d{3,5})", path.read_text())
    }
    assert cited - listed == set()


def test_everything_the_index_names_exists() -> None:
    """Modules and tests of the index are files or directories of the project."""
    named = set(re.findall(r"\b((?:mta|tests)/[\w/]+(?:\.py)?)", INDEX))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_documents_named_in_the_readme_exist() -> None:
    """A reader of the README finds every document it points to."""
    named = re.findall(r"``(docs/[\w/.]+|etc/[\w.]+)``", (ROOT / "README.rst").read_text())
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_module_is_too_long() -> None:
    """Files stay short enough to be read: 400 lines at most."""
    lengths = {
        str(path.relative_to(ROOT)): path.read_text().count("\n")
        for path in (ROOT / "mta").rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}
