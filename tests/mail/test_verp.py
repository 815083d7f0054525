"""VERP: the recipient can be read from the sender again."""

from hypothesis import given
from hypothesis import strategies as st

from mta.mail.address import split, unquoted
from mta.mail.verp import sender_for
from mta.smtp.grammar import mailbox


def test_the_recipient_stands_in_the_sender() -> None:
    """Both delimiters as they are set."""
    assert sender_for("news@example.org", "ann@example.com") == ("news+ann=example.com@example.org")
    assert sender_for("news@example.org", "a.b+c@example.com", "-=") == (
        "news-a.b+c=example.com@example.org"
    )


def test_the_null_sender_has_no_variants() -> None:
    """A report must not become something that is reported."""
    assert sender_for("", "ann@example.com") == ""


def test_what_needs_quotes_gets_them() -> None:
    """The address stays one."""
    assert sender_for("news@example.org", '"an n"@example.com') == (
        '"news+an n=example.com"@example.org'
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_nothing_is_raised(sender: str, recipient: str) -> None:
    """Any text."""
    sender_for(sender, recipient)


@given(st.from_regex(r"[a-z0-9=+.]{1,20}", fullmatch=True))
def test_it_can_be_taken_apart(text: str) -> None:
    """Whoever knows the sender finds the recipient; the last delimiter was its @."""
    made = sender_for("news@example.org", f"{text}@example.com")
    assert mailbox(made)[1] == len(made)
    whom, _, where = unquoted(split(made)[0]).removeprefix("news+").rpartition("=")
    assert (whom, where) == (text, "example.com")
