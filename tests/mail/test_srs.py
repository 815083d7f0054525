"""SRS: there and back, forged, expired, and against Mail::SRS from Debian."""

import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.address import folded, quoted, split, unquoted
from mta.mail.srs import Expired, Forged, Srs
from mta.smtp.grammar import mailbox

DAY = 20_000
OURS = Srs("example.org", (b"secret", b"former"))

_locals = st.one_of(
    st.from_regex(r"[a-z0-9.=+_-]{1,30}", fullmatch=True).filter(
        lambda text: ".." not in text and not text.startswith(".") and not text.endswith(".")
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).map(
        quoted
    ),
)
_addresses = st.tuples(_locals, st.from_regex(r"[a-z][a-z0-9]{0,9}\.example", fullmatch=True)).map(
    "@".join
)


@given(_addresses, st.integers(0, 40_000), st.integers(0, 21))
def test_a_bounce_goes_back_to_whom_the_message_came_from(
    sender: str, day: int, later: int
) -> None:
    """Whatever the address is, and on any day within the time."""
    if unquoted(split(sender)[0])[:4].upper() in ("SRS0", "SRS1"):
        return
    signed = OURS.forward(sender, day)
    assert mailbox(signed)[1] == len(signed)
    assert OURS.claims(signed)
    assert folded(OURS.reverse(signed, day + later)) == folded(sender)


@given(st.text(max_size=60), st.integers(0, 40_000))
def test_anything_at_all_is_either_ours_or_refused(text: str, day: int) -> None:
    """Never another exception."""
    for address in (text, f"{text}@example.org", f"SRS0={text}@example.org", f"SRS1={text}@x"):
        OURS.claims(address)
        OURS.forward(address, day)
        with pytest.raises((Forged, Expired)):
            OURS.reverse(address, day)


def test_letters_may_have_lost_their_case_on_the_way() -> None:
    """Some hosts write local parts small."""
    signed = OURS.forward("ann@example.com", DAY)
    assert OURS.reverse(signed.lower(), DAY) == "ann@example.com"
    assert OURS.reverse(signed.upper(), DAY).lower() == "ann@example.com"


def test_a_forged_hash_is_refused() -> None:
    """An attacker who wants us to send to an address of his choice does not know the secret."""
    signed = OURS.forward("ann@example.com", DAY)
    for wrong in (
        signed.replace("ann", "bob"),
        signed.replace("example.com", "example.net"),
        "SRS0==AA=example.com=ann@example.org",  # no hash at all
        "SRS0=A=AA=example.com=ann@example.org",
        Srs("example.org", (b"other",)).forward("ann@example.com", DAY),
        "SRS1=AAAA=example.net==AAAA=AA=example.com=ann@example.org",
        "SRS0=AAAA=example.com@example.org",
    ):
        with pytest.raises(Forged):
            OURS.reverse(wrong, DAY)


def test_a_stolen_address_does_not_work_for_ever() -> None:
    """Nor does one from the future, but for a clock that is a day ahead."""
    signed = OURS.forward("ann@example.com", DAY)
    assert OURS.reverse(signed, DAY - 1) == "ann@example.com"
    for day in (DAY + 22, DAY + 1000, DAY - 2):
        with pytest.raises(Expired):
            OURS.reverse(signed, day)


def test_a_secret_that_was_replaced_is_still_believed() -> None:
    """Rotation: the first of the file signs, the others are for what is under way."""
    former = Srs("example.org", (b"former",)).forward("ann@example.com", DAY)
    assert OURS.reverse(former, DAY) == "ann@example.com"
    assert OURS.forward("ann@example.com", DAY) != former


def test_what_another_forwarder_has_signed_goes_back_to_it() -> None:
    """SRS1 leads to the first forwarder, past all those between."""
    first = Srs("one.example", (b"1",)).forward("ann@example.com", DAY)
    second = Srs("two.example", (b"2",)).forward(first, DAY)
    third = OURS.forward(second, DAY)
    assert third.startswith("SRS1=")
    assert third.endswith("@example.org")
    assert OURS.reverse(third, DAY + 900) == first  # the day is the first one's business


@pytest.mark.parametrize("host", ["", "a b", "evil.example> NOTIFY", "a,b", "a..b", "a@b"])
def test_a_host_that_is_none_is_not_signed(host: str) -> None:
    """Attack: a sender that looks like SRS, whose "host" would write parameters behind our RCPT.

    It is an address like any other then, and its bounce goes back to it.
    """
    sender = f"{quoted(f'SRS1=hash={host}==x=ann')}@example.com"
    signed = OURS.forward(sender, DAY)
    assert unquoted(split(signed)[0]).startswith("SRS0=")
    assert OURS.reverse(signed, DAY) == sender
    hash_ = OURS._hash(b"secret", (host, "=x=ann"))[:4]
    shared = f"{quoted(f'SRS1={hash_}={host}==x=ann')}@example.org"  # by whoever has the secret
    with pytest.raises(Forged):
        OURS.reverse(shared, DAY)


def test_the_secret_is_in_no_representation() -> None:
    """Logs show values."""
    assert "secret" not in repr(OURS)


PERL = r"""
use Mail::SRS;
my $srs = Mail::SRS->new(Secret => ['secret'], MaxAge => 21, HashLength => 4);
my ($verb, $address) = @ARGV;
print $verb eq 'forward' ? $srs->forward($address, 'example.org') : $srs->reverse($address);
"""


def _perl(verb: str, address: str) -> str:
    if shutil.which("perl") is None:
        pytest.skip("no perl here")
    done = subprocess.run(
        ["perl", "-e", PERL, verb, address], capture_output=True, text=True, check=False
    )
    if "Can't locate Mail/SRS.pm" in done.stderr:
        pytest.skip("libmail-srs-perl is not installed")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "sender",
    [
        "ann@example.com",
        "a.b+c=d@sub.example.com",
        "SRS0=AbC1=XY=example.net=bob@forwarder.example",
        "SRS0+AbC1=XY=example.net=bob@forwarder.example",
        "SRS1=AbC1=first.example==XY12=AB=example.net=bob@second.example",
    ],
)
def test_mail_srs_understands_ours_and_we_its(sender: str) -> None:
    """Independent code, the same secret, today."""
    day = int(time.time() // 86400)
    ours = Srs("example.org", (b"secret",))
    theirs = _perl("forward", sender)
    assert theirs == ours.forward(sender, day)
    assert _perl("reverse", theirs) == ours.reverse(theirs, day)


def test_a_short_hash_is_not_a_long_one() -> None:
    """Attack: four letters are guessed where the operator wants ten."""
    long = Srs("example.org", (b"secret",), hash_length=10)
    signed = long.forward("ann@example.com", DAY)
    assert long.reverse(signed, DAY) == "ann@example.com"
    tag, given, rest = signed.split("=", 2)
    with pytest.raises(Forged):
        long.reverse(f"{tag}={given[:9]}={rest}", DAY)
    assert OURS.reverse(signed, DAY) == "ann@example.com"  # longer than it need be
