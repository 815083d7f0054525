"""``[tls_report]``, as an operator writes it."""

import pytest

from mta.config import ConfigError
from mta.config.build_tls_report import tls_report
from mta.tlsrpt.document import Author


def test_off_without_a_contact(configured):
    """Nothing is counted unless there is somebody to answer for it, and it can be switched off."""
    assert tls_report(configured("")) is None
    text = '[tls_report]\nenabled = false\ncontact = "tls@example.org"'
    assert tls_report(configured(text)) is None


def test_a_contact_is_all_it_takes(configured):
    """The rest follows from it; what is said is taken."""
    found = tls_report(configured('[tls_report]\ncontact = "tls@Example.org"'))
    assert found.author == Author("example.org", "tls@example.org")
    assert (found.sender, found.delay_s, found.spread_s) == ("tls@example.org", 3600, 14_400)
    assert not found.private_addresses
    more = 'organization = "Example, Inc."\nsender = "noreply@example.org"\ndelay = "2h"'
    found = tls_report(configured(f'[tls_report]\ncontact = "tls@example.org"\n{more}'))
    assert found.author.organization == "Example, Inc."
    assert (found.sender, found.delay_s) == ("noreply@example.org", 7200)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('sender = "a@example.org"', "needs contact"),
        ('contact = "a@example.org"\nsender = "a@example.net"', "must be in example.org"),
        ('contact = "a b@example.org"', "must be a mail address"),
        ("contact = '\"a,b\"@example.org'", "plain ASCII"),
        ('contact = "\u00fc@example.org"', "plain ASCII"),
        ('contact = "a@example.org"\nretention = "1d"', "2d at least"),
        ('contact = "a@example.org"\norganization = ""', "must not be empty"),
        ('contakt = "a@example.org"', "did you mean"),
    ],
)
def test_what_cannot_stand_in_a_report(configured, text, words):
    """Attack or slip: it would get into header fields, or reports would be ignored."""
    with pytest.raises(ConfigError) as caught:
        configured(f"[tls_report]\n{text}")
    assert words in str(caught.value)
