"""Tables of addresses: the most particular entry, once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.rewriting import Rewrites

TABLE = Rewrites.of(
    [
        ("root@db.internal.example.org", "admins@example.org"),
        ("@old.example.org", "@example.org"),
        ("@closed.example.org", "office@example.org"),
        (".internal.example.org", "@example.org"),
        (".lab.internal.example.org", "@lab.example.org"),
    ]
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("root@db.internal.example.org", "admins@example.org"),
        ('"ROOT"@DB.internal.example.org', "admins@example.org"),
        ("ann@db.internal.example.org", "ann@example.org"),
        ("ann@x.lab.internal.example.org", "ann@lab.example.org"),
        ("ann@lab.internal.example.org", "ann@example.org"),  # is not below itself
        ("ann@internal.example.org", "ann@internal.example.org"),
        ("Ann.B@old.example.org", "Ann.B@example.org"),
        ("ann@closed.example.org", "office@example.org"),
        ("ann@xinternal.example.org", "ann@xinternal.example.org"),
        ("", ""),
    ],
)
def test_the_most_particular_entry_decides(before: str, after: str) -> None:
    """Address, domain, nearest domain above."""
    assert TABLE.rewrite(before) == after


def test_nothing_goes_in_circles() -> None:
    """What an entry gives is not looked up again."""
    table = Rewrites.of([("@a.example", "@b.example"), ("@b.example", "@a.example")])
    assert table.rewrite("ann@a.example") == "ann@b.example"


@pytest.mark.parametrize(
    "pair",
    [
        ("ann", "ann@example.org"),
        ("ann@example.org", "bob"),
        ("ann@example.org", "bob@example.org>"),
        ("@", "@example.org"),
        ("@example.org", "@"),
        ("@example.org", "|program"),
        ("ann@example.org", "bob@example.org\r\nDATA"),
    ],
)
def test_what_is_no_address_is_refused(pair: tuple[str, str]) -> None:
    """When the table is made."""
    with pytest.raises(ValueError):
        Rewrites.of([pair])


def test_an_entry_stands_there_once() -> None:
    """Or it would be a matter of luck."""
    with pytest.raises(ValueError, match="twice"):
        Rewrites.of([("@example.org", "@a.example"), ("@Example.org", "@b.example")])


@given(st.text(max_size=40))
def test_nothing_is_raised(address: str) -> None:
    """Any text."""
    TABLE.rewrite(address)
