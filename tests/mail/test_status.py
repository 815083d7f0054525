"""Enhanced status codes in words."""

import pytest

from mta.mail.status import advice, is_status, of_class, words


@pytest.mark.parametrize("text", ["2.0.0", "4.4.7", "5.1.10", "5.7.509"])
def test_codes(text):
    """RFC 3463 §2."""
    assert is_status(text)


@pytest.mark.parametrize(
    "text", ["", "3.0.0", "5.1", "5.1.1000", "5.1.1 ", "5.1.1\n", "٥.1.1", "x"]
)
def test_no_codes(text):
    """Other classes, other forms, other digits."""
    assert not is_status(text)


@pytest.mark.parametrize(
    ("enhanced", "expected", "result"),
    [("5.1.1", "5", "5.1.1"), ("4.7.1", "5", "5.7.1"), ("", "4", "4.0.0"), ("550", "5", "5.0.0")],
)
def test_of_class(enhanced, expected, result):
    """The class is ours to know, the detail the server's."""
    assert of_class(enhanced, expected) == result


@pytest.mark.parametrize(
    ("enhanced", "part"),
    [
        ("5.1.1", "no such mailbox"),
        ("4.2.2", "mailbox is full"),
        ("5.7.999", "refused the message by its rules"),
        ("5.1.10", "takes no mail at all"),
    ],
)
def test_words(enhanced, part):
    """A known detail has its own sentence, an unknown one that of its subject."""
    assert part in words(enhanced)


def test_no_words():
    """Nothing is said where nothing is known."""
    assert words("") == words("5.9.9") == words("nonsense") == ""


@pytest.mark.parametrize("enhanced", ["5.1.1", "5.3.4", "5.3.5", "4.4.7", "5.7.1", "", "5.0.0"])
def test_there_is_always_advice(enhanced):
    """The sender of a failed message is never left without a next step."""
    assert advice(enhanced).endswith(".")
