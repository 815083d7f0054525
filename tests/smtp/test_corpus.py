"""Every input that fuzzing has found worth keeping, each time the tests run."""

from pathlib import Path

import pytest
from properties import PROPERTIES

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"


def test_what_is_fuzzed_has_a_corpus():
    """What is fuzzed and what is committed are the same."""
    assert {path.name for path in CORPUS.iterdir()} == set(PROPERTIES)


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_corpus(name):
    """What holds of any input holds of these."""
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        PROPERTIES[name](path.read_bytes())
