"""Who a header says it is from, whatever it does to hide that."""

import time

import pytest

from mta.mail.author import authors, rewritten


@pytest.mark.parametrize(
    ("field", "addresses"),
    [
        (b"From: ann@example.org", ("ann@example.org",)),
        (b"from : <ann@example.org>", ("ann@example.org",)),
        (b"From: Ann A. Nother <ann@example.org>", ("ann@example.org",)),
        (b'From: "Nother, Ann" <ann@example.org>', ("ann@example.org",)),
        (b"From:\r\n ann@example.org", ("ann@example.org",)),
        (b"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>", ("j@example.org",)),
        (b"From: J\xc3\xb6rg <j@example.org>", ("j@example.org",)),
        (b"From: a@example.org, B <b@example.org>", ("a@example.org", "b@example.org")),
        (b'From: "ceo@corp.org" <a@example.org>', ("ceo@corp.org", "a@example.org")),
        (b"From: ceo@corp.org <a@example.org>", None),
        (b"From: <ceo@corp.org> <a@example.org>", None),
        (b"From: root@example.org (Cron Daemon)", ("root@example.org",)),
        (b"From: friends: a@example.org;", None),
        (b"From: a@example.org (ceo@corp.org)", None),
        (b'From: "a\\"@x.org" <b@y.org>', None),
        (b"From: =?utf-8?q?ceo=40corp.org?= <a@x.org>", ("ceo@corp.org", "a@x.org")),
        (
            b"From: =?utf-8?q?ceo?= =?ascii?b?QGNvcnAub3Jn?= <a@x.org>",
            ("ceo@corp.org", "a@x.org"),
        ),
        (b'From: "=?utf-8?b?Y2VvQGNvcnAub3Jn?=" <a@x.org>', ("ceo@corp.org", "a@x.org")),
        (b"From: a@x.org (=?us-ascii?q?ceo=40corp.org?=)", ("ceo@corp.org", "a@x.org")),
        (b"From: ceo\xef\xbc\xa0corp.org <a@x.org>", ("ceo@corp.org", "a@x.org")),
        (b"From: =?no-such?q?ceo=40corp.org?= <a@x.org>", None),
        (b"From: =?utf-8?b?Y?= <a@x.org>", None),
        (b"From: nobody", None),
        (b"From:", None),
        (b"From: \xff@example.org", None),
        (b"From: " + b"x" * 9000 + b"@example.org", None),
    ],
)
def test_spoofed_from(field, addresses):
    """What is not certain is said to be so; all that a reader may see is found."""
    found = authors(b"Subject: x\r\n" + field + b"\r\nTo: y@z.org\r\n")
    assert (found.fields, found.addresses, found.at) == (1, addresses, 12)


def test_second_from_field():
    """Two From fields are two, however they are written; a From in another field is none."""
    assert authors(b"From: a@b\r\nFROM\t: c@d\r\n").fields == 2
    assert authors(b"From\r\n : a@b\r\nFrom: c@d\r\n").fields == 2
    assert authors(b"X: y\r\n From: a@b\r\nX-From: a@b\r\n").fields == 0


def test_rewritten():
    """The new field stands in the place of the old one, which is kept under another name."""
    block = b"To: x@y\r\nFrom: Evil\r\n <e@v>\r\n\r\ntext"
    assert rewritten(block, authors(block).at, "a@b.org") == (
        b"To: x@y\r\nFrom: <a@b.org>\r\nX-Original-From: Evil\r\n <e@v>\r\n\r\ntext"
    )


@pytest.mark.parametrize(
    "junk", [b"=?a?q?", b"=?a?q?x?= ", b" ", b'"', b"(", b"<", b",", b"a ", b"@", b"\r\n "]
)
def test_no_time_is_wasted(junk):
    """A field of 60 KiB that hunts for slow patterns is done with at once."""
    began = time.process_time()
    authors(b"From: " + junk * (60_000 // len(junk)) + b"\r\n")
    authors(b"From: " + junk * (8_000 // len(junk)) + b"\r\n")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "value", [b"a@b.c," + b" " * 8000 + b"x(", b'"' + b"a" * 8000 + b'" <a@b.c>']
)
def test_no_time_is_wasted_on_one_mailbox(value):
    """Attack: white space before a name, or a name that could be an address at each letter."""
    began = time.process_time()
    authors(b"From: " + value + b"\r\n")
    assert time.process_time() - began < 0.05
