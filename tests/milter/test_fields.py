"""The header as filters see and change it."""

from hypothesis import given
from hypothesis import strategies as st

from mta.milter.fields import Fields, _Entry

OURS = b"Received: by us\r\n\tfor you\r\n"
HEADER = b"From: a\r\nX-A: 1\r\nSubject: two\r\n lines\r\nX-A: 2\r\nno colon\r\nx-a : 3\r\n"


def test_what_is_shown():
    """All but our own line, and but what is no field; folded lines are one value."""
    assert list(Fields(OURS + HEADER, len(OURS)).shown()) == [
        (b"From", b" a"),
        (b"X-A", b" 1"),
        (b"Subject", b" two\r\n lines"),
        (b"X-A", b" 2"),
        (b"x-a", b" 3"),
    ]


@given(st.binary(max_size=80).map(lambda octets: octets + b"\r\n"), st.integers(0, 90))
def test_nothing_is_lost(octets, hidden):
    """A header that nobody changes is the same afterwards."""
    hidden = min(hidden, len(octets))
    assert Fields(octets, hidden).octets() == octets


def test_inserting():
    """0 is above our line, 1 below it, and what is too far is at the end."""
    fields = Fields(OURS + b"From: a\r\n", len(OURS))
    fields.insert(99, b"X-99", b" x")
    fields.insert(1, b"X-1", b" x")
    fields.insert(0, b"X-0", b" x")
    fields.add(b"X-Last", b" x")
    assert fields.octets() == (
        b"X-0: x\r\n" + OURS + b"X-1: x\r\nFrom: a\r\nX-99: x\r\nX-Last: x\r\n"
    )


def test_changing():
    """The n-th of a name in whatever case; 0 is the first."""
    fields = Fields(HEADER)
    assert fields.change(3, b"X-A", b" three")
    assert fields.change(0, b"x-a", b" one")
    assert fields.octets() == HEADER.replace(b"X-A: 1", b"x-a: one").replace(
        b"x-a : 3", b"X-A: three"
    )


def test_numbers_stay_while_a_filter_takes_away():
    """A filter that deletes upwards and one that deletes downwards mean the same fields."""
    for order in ((1, 2), (2, 1)):
        fields = Fields(HEADER)
        assert all(fields.change(number, b"X-A", b"") for number in order)
        assert b"X-A" not in fields.octets()
        assert b"x-a : 3\r\n" in fields.octets()
        fields.settle()
        assert fields.change(1, b"X-A", b" first now")
        assert fields.octets().endswith(b"X-A: first now\r\n")


def test_what_is_not_there():
    """It is added; to take it away is nothing."""
    fields = Fields(b"From: a\r\n")
    assert not fields.change(1, b"X-A", b"")
    assert fields.change(7, b"X-A", b" b")
    assert fields.octets() == b"From: a\r\nX-A: b\r\n"


def test_our_own_line_cannot_be_changed():
    """Attack: a filter does not take our ``Received:`` away by its name."""
    fields = Fields(OURS + b"From: a\r\n", len(OURS))
    assert not fields.change(1, b"Received", b"")
    assert fields.octets().startswith(OURS)


def test_many_changes_of_a_long_header(monkeypatch):
    """Attack: thousands of fields and of changes; each field's name is read but once for all."""
    reads = 0
    original = _Entry.name

    def counted(entry):
        nonlocal reads
        reads += 1
        return original.__get__(entry)

    monkeypatch.setattr(_Entry, "name", property(counted))
    fields = Fields(b"".join(b"X-%d: a\r\n" % number for number in range(3000)))
    for number in range(1000):
        assert fields.change(1, b"X-%d" % number, b" b")
        fields.insert(1500, b"X-7", b" new")
    assert reads <= 3000 + 2 * 1000
    assert fields.change(1001, b"X-7", b"")
    assert fields.octets().count(b"X-7: new\r\n") == 999


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["change", "insert", "add", "settle"]),
        st.integers(0, 8),
        st.sampled_from([b"X-A", b"x-a", b"From", b"New"]),
        st.sampled_from([b"", b" v", b" w"]),
    ),
    max_size=30,
)


@given(CHANGES)
def test_the_index_is_right(changes):
    """Whatever was changed before, an occurrence is the one that a search from above finds."""
    fields = Fields(OURS + HEADER, len(OURS))
    for what, number, name, value in changes:
        if what == "settle":
            fields.settle()
        elif what == "add":
            fields.add(name, value)
        elif what == "insert":
            fields.insert(number, name, value)
        else:
            fields.change(number, name, value)
        searched: dict = {}
        for one in fields._entries:
            if one.shown:
                searched.setdefault(one.name.lower(), []).append(one)
        found = {key: some for key, some in fields._by_name().items() if some}
        assert [list(map(id, found[key])) for key in searched] == [
            list(map(id, some)) for some in searched.values()
        ]
