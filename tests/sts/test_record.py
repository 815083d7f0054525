"""The TXT record of MTA-STS (RFC 8461 §3.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.sts.record import RecordInvalid, policy_id


@pytest.mark.parametrize(
    "record",
    [
        b"v=STSv1; id=20160831085700Z;",
        b"v=STSv1;id=20160831085700Z",
        b"v=STSv1 ; \tid=20160831085700Z ;  ",
        b"v=STSv1; new.field=x:y; id=20160831085700Z; id=2",
    ],
)
def test_read(record):
    """Spaces, an extension, a second id and a final semicolon change nothing."""
    assert policy_id([b"google-site-verification=1", record]) == "20160831085700Z"


@pytest.mark.parametrize(
    "records",
    [
        [],
        [b"v=spf1 -all"],
        [b"v=STSv2; id=1"],
        [b"id=1; v=STSv1;"],
        [b"v=STSv1"],
        [b"v=stsv1;id=1"],
    ],
)
def test_none(records):
    """What does not begin with v=STSv1; is somebody else's."""
    assert policy_id(records) is None


@pytest.mark.parametrize(
    "records",
    [
        [b"v=STSv1; id=1", b"v=STSv1; id=1"],
        [b"v=STSv1;"],
        [b"v=STSv1; id="],
        [b"v=STSv1; id=1-2"],
        [b"v=STSv1; id=" + b"1" * 33],
        [b"v=STSv1; ID=1"],
        [b"v=STSv1; id=1; ; x=1"],
        [b"v=STSv1; id=1; x"],
        [b"v=STSv1; id=1; x=a=b"],
        [b"v=STSv1; id=\xc3\xa9"],
        [b"v=STSv1; id=1;" + b"x=1;" * 2000],
    ],
)
def test_invalid(records):
    """Two of them, or one that breaks the grammar: the domain has no policy."""
    with pytest.raises(RecordInvalid) as caught:
        policy_id(records)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=80).map(lambda tail: b"v=STSv1;" + tail))
def test_anything(record):
    """Whatever follows, an id of 1 to 32 letters and digits comes out, or nothing."""
    try:
        found = policy_id([record])
    except RecordInvalid:
        return
    assert found is not None and found.isalnum() and found.isascii() and len(found) <= 32
    assert b"id=" + found.encode() in record
