"""What a submission server takes out of a header, refuses in it and adds to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.author import several
from mta.mail.completion import author, has_hidden, repeated, without_hidden
from mta.mail.headers import end_of, scan


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (b"Bcc: a@b\r\nTo: c@d\r\n\r\nBcc: body\r\n", b"To: c@d\r\n\r\nBcc: body\r\n"),
        (b"To: c@d\r\nBCC:a@b,\r\n e@f,\r\n\tg@h\r\nX: y\r\n\r\n", b"To: c@d\r\nX: y\r\n\r\n"),
        (b"To: c@d\r\nbcc : a@b\r\n\r\n", b"To: c@d\r\n\r\n"),
        (b"Bcc: a@b\r\nbcc: c@d\r\nResent-Bcc: e@f\r\nX: y\r\n\r\n", b"X: y\r\n\r\n"),
        (b"Bcc: a@b\r\n\r\nbody", b"\r\nbody"),
        (b"X: y\r\nBcc:", b"X: y\r\n"),
        (b"X: y\r\nBcc:\r\n \r\n", b"X: y\r\n"),
        (b"X: Bcc: a@b\r\n Bcc: c@d\r\nXBcc: e\r\nBcc-x: f\r\n\r\n", None),
        (b"\r\nBcc: body\r\n\r\n", None),
        (b"Bcc: a@b\r c@d\n e@f\r\nX: y\r\n\r\n", b"X: y\r\n\r\n"),  # of BINARYMIME
    ],
)
def test_hidden_recipients(block, left):
    """Bcc goes, folded, repeated, resent, at the end; nothing else does."""
    assert has_hidden(scan(block).names) is (left is not None)
    assert without_hidden(block, end_of(block)) == (block if left is None else left)


FIELDS = st.lists(
    st.sampled_from(
        [b"Bcc: a@b\r\n", b"bcc:\r\n\ta@b\r\n", b"Resent-Bcc : a@b,\r\n c@d\r\n", b"To: x@y\r\n",
         b"Subject: Bcc: z\r\n", b"X:\r\n Bcc: folded\r\n", b"From: x@y\r\n"]
    )
)  # fmt: skip


@given(fields=FIELDS, body=st.binary(max_size=40))
def test_only_hidden_fields_go(fields, body):
    """Every other field and the body stay as they are, in their order."""
    block = b"".join(fields) + b"\r\n" + body
    kept = [one for one in fields if b"cc" not in one.partition(b":")[0].lower()]
    assert without_hidden(block, end_of(block)) == b"".join(kept) + b"\r\n" + body


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (b"From: a@b\r\nfrom : c@d\r\n\r\n", "From"),
        (b"Subject: x\r\nTo: a\r\nsubject: y\r\n\r\n", "Subject"),
        (b"Message-ID: <a@b>\r\nMessage-Id: <a@b>\r\n\r\n", "Message-Id"),
        (b"Received: x\r\nReceived: y\r\nX: 1\r\nX: 2\r\nBcc: a\r\nBcc: b\r\n\r\n", ""),
        (b"From: a@b\r\nTo: c@d\r\n\r\nFrom: e@f\r\n\r\n", ""),
        (b"From: a@b\r\n from: c@d\r\n\r\n", ""),
    ],
)
def test_repeated_fields(block, name):
    """What RFC 5322 §3.6 has once is once; trace fields and others are as many as they are."""
    assert repeated(scan(block).names) == name


@pytest.mark.parametrize(
    ("value", "is_several"),
    [
        (b"a@b.example", False),
        (b'"Ann, of Sales" <a@b.example>', False),
        (b"a@b.example, c@d.example", True),
        (b"Ann <a@b.example>,\r\n\tBob <c@d.example>", True),
        (b'"x@y.example" <a@b.example>', False),  # one mailbox, whatever its name looks like
        (b"", False),
        (b"Group: a@b.example, c@d.example;", False),  # cannot be told, so nothing is added
    ],
)
def test_several_authors(value, is_several):
    """Mailboxes are counted, not what looks like one."""
    block = b"Subject: x\r\nFrom: " + value + b"\r\n\r\n"
    assert several(block, scan(block).author_at) is is_several


def test_author():
    """The envelope sender as a field; beyond ASCII it is UTF-8 (RFC 6532)."""
    assert author("From", "a@b.example") == b"From: <a@b.example>\r\n"
    assert author("Sender", "jörg@b.example") == "Sender: <jörg@b.example>\r\n".encode()
