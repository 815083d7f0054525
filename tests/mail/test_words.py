"""Queue ids and addresses: the forms that the rest of the program relies on."""

import pytest

from mta.mail.address import ascii_domain, domain_of, split
from mta.mail.outcome import Outcome, Peer, Verdict
from mta.mail.queue_id import is_queue_id, new_queue_id


def test_ids_sort_by_arrival() -> None:
    """A later millisecond gives a greater id, whatever the random part is."""
    early = new_queue_id(1_790_000_000_000, lambda bits: (1 << bits) - 1)
    late = new_queue_id(1_790_000_000_001, lambda bits: 0)
    assert early < late
    assert len(early) == len(late) == 16


def test_id_is_shell_safe_and_recognised() -> None:
    """An id has only upper-case letters and digits, none of them I, L, O or U."""
    assert new_queue_id(0, lambda bits: 0) == "0" * 16
    assert is_queue_id(new_queue_id(1_790_000_000_000))
    for wrong in ("", "0" * 15, "0" * 17, "0" * 15 + "U", "0" * 15 + "a", "0" * 16 + "\n"):
        assert not is_queue_id(wrong)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("a@b", ("a", "b")),
        ('"a@b"@c', ('"a@b"', "c")),
        ("postmaster", ("postmaster", "")),
        ("", ("", "")),
    ],
)
def test_split_takes_the_last_at(address: str, parts: tuple[str, str]) -> None:
    """An ``@`` within a quoted local part does not divide the address."""
    assert split(address) == parts


def test_domains_are_compared_as_a_labels() -> None:
    """Upper case, a trailing dot and Unicode all come to the same name."""
    assert domain_of("x@EXAMPLE.Org.") == "example.org"
    assert domain_of("x@Bücher.example") == "xn--bcher-kva.example"
    assert ascii_domain("[IPv6:2001:DB8::1]") == "[ipv6:2001:db8::1]"


def test_impossible_domain_is_a_value_error() -> None:
    """A name IDNA does not allow is refused, not passed to DNS."""
    with pytest.raises(ValueError, match="not a domain name"):
        ascii_domain("ex‥ample\u00a0.org")


def test_reply_line_leaves_out_what_is_missing() -> None:
    """Our own words have no code, and the line shows none."""
    ours = Outcome(0, Verdict.DEFERRED, 0, "4.4.1", "connection refused", "connect")
    theirs = Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "Ok", "end of data", peer=Peer("mx"))
    null_mx = Outcome(0, Verdict.FAILED, 556, "5.1.10", "takes no mail", "DNS")
    assert (ours.remote, ours.reply) == (False, "4.4.1 connection refused")
    assert (theirs.remote, theirs.reply) == (True, "250 2.0.0 Ok")
    assert (null_mx.remote, null_mx.reply) == (False, "556 5.1.10 takes no mail")
