"""Aliases: what is found, in which order, and that nothing is without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.alias_file import AliasSyntax, parse, parse_list
from mta.policy.aliases import (
    Endless,
    Entry,
    Final,
    LocalAddresses,
    LocalDomain,
    UnknownAddress,
)


def table(entries: dict[str, str], *, closed: bool = True, **more: object) -> LocalAddresses:
    """Make a table of two domains of ours."""
    return LocalAddresses(
        {
            "example.org": LocalDomain("example.org", frozenset({"ann", "bob"}), closed),
            "two.example": LocalDomain("two.example", frozenset(), False),
        },
        {
            key: Entry(tuple(value.split()), f"aliases:{number}")
            for number, (key, value) in enumerate(entries.items(), 1)
        },
        **more,  # type: ignore[arg-type]
    )


def to(addresses: LocalAddresses, address: str) -> list[str]:
    """Expand."""
    return [one.address for one in addresses.expand(address).finals]


def test_a_list_of_names_and_addresses() -> None:
    """Names alone are in the same domain; what comes twice is there once."""
    aliases = table({"staff@example.org": "ann bob@example.org x@example.net Ann@example.org"})
    found = aliases.expand("Staff@Example.org")
    assert [one.address for one in found.finals] == [
        "ann@example.org",
        "bob@example.org",
        "x@example.net",
    ]
    assert [(step.address, step.where) for step in found.steps] == [
        ("Staff@Example.org", "aliases:1")
    ]


def test_what_is_unknown_is_unknown() -> None:
    """Only where all is known."""
    aliases = table({"staff@example.org": "ann"})
    with pytest.raises(UnknownAddress):
        aliases.expand("nobody@example.org")
    found = aliases.expand("nobody@two.example")
    assert (found.finals, found.changed, found.known) == (
        (Final("nobody@two.example"),),
        False,
        False,
    )


def test_a_mailbox_stays_what_it_is() -> None:
    """Its extension too; quotes are no way round the table."""
    aliases = table({"info@example.org": "ann"})
    assert to(aliases, "ann+lists@example.org") == ["ann+lists@example.org"]
    assert to(aliases, '"info"@example.org') == ["ann@example.org"]
    assert not aliases.expand("ann@example.org").changed


def test_the_order_in_which_an_address_is_looked_up() -> None:
    """Itself, a name of all domains, without extension, recipients, catch-all."""
    aliases = table(
        {
            "info+x@example.org": "one@a.example",
            "info@example.org": "two@a.example",
            "info@": "three@a.example",
            "@example.org": "four@a.example",
        }
    )
    assert to(aliases, "info+x@example.org") == ["one@a.example"]
    assert to(aliases, "info+y@example.org") == ["two@a.example"]
    assert to(aliases, "info@two.example") == ["three@a.example"]
    assert to(aliases, "ann+x@example.org") == ["ann+x@example.org"]
    assert to(aliases, "any@example.org") == ["four@a.example"]


def test_a_domain_can_stand_for_another() -> None:
    """The name is kept; what is unknown there is unknown here."""
    aliases = table({"@two.example": "@example.org", "info@example.org": "ann"})
    assert to(aliases, "bob@two.example") == ["bob@example.org"]
    assert to(aliases, "info@two.example") == ["ann@example.org"]
    assert list(aliases.problems()) == []
    with pytest.raises(UnknownAddress):
        aliases.expand("nobody@two.example")


def test_who_names_itself_ends_there() -> None:
    """A copy for a colleague; and a catch-all to a mailbox that has no other entry."""
    aliases = table({"ann@example.org": "ann copy@example.net", "@two.example": "all@two.example"})
    assert to(aliases, "ann@example.org") == ["ann@example.org", "copy@example.net"]
    assert to(aliases, "ann+x@example.org") == ["ann@example.org", "copy@example.net"]
    assert to(aliases, "x@two.example") == ["all@two.example"]
    assert list(aliases.problems()) == []


def test_circles_are_found_when_the_table_is_made() -> None:
    """And a client that meets one anyhow is not followed for ever."""
    aliases = table({"a@example.org": "b", "b@example.org": "c@two.example", "c@": "a@example.org"})
    assert len(list(aliases.problems())) == 3
    with pytest.raises(Endless, match=r"a@example\.org"):
        aliases.expand("a@example.org")


def test_an_alias_to_nobody_is_found_when_the_table_is_made() -> None:
    """It would be a bounce."""
    assert [where for where, _ in table({"info@example.org": "nobody"}).problems()] == ["aliases:1"]
    assert list(table({"info@example.org": "nobody"}, closed=False).problems()) == []


def test_the_number_of_addresses_is_bounded() -> None:
    """A list of lists of lists is a weapon."""
    many = " ".join(f"u{number}@a.example" for number in range(11))
    with pytest.raises(Endless, match="more than 10"):
        table({"all@example.org": many}, most=10).expand("all@example.org")


def test_the_owner_of_the_innermost_list_hears_of_failures() -> None:
    """owner-NAME, if there is one."""
    aliases = table(
        {
            "staff@example.org": "ann team",
            "owner-staff@example.org": "bob",
            "team@example.org": "x@a.example",
            "owner-team@": "y@a.example",
            "plain@example.org": "z@a.example",
        }
    )
    assert aliases.expand("staff@example.org").finals == (
        Final("ann@example.org", "owner-staff@example.org"),
        Final("x@a.example", "owner-team@example.org"),
    )
    assert aliases.expand("plain@example.org").finals == (Final("z@a.example"),)


def test_postmaster_is_always_there() -> None:
    """RFC 5321 §4.5.1."""
    assert to(table({}), "Postmaster@example.org") == ["Postmaster@example.org"]
    assert to(table({}, postmaster="ann@example.org"), "postmaster@example.org") == [
        "ann@example.org"
    ]


def test_twice_by_a_domain_under_two_names() -> None:
    """A domain that stands for another may be passed again by another name: that is no circle."""
    aliases = table({"@example.org": "@two.example", "b@two.example": "a@example.org"})
    assert list(aliases.problems()) == []
    assert to(aliases, "b@example.org") == ["a@two.example"]


def test_a_circle_of_whole_domains() -> None:
    """Two domains that stand for each other keep the name: that is one, and is found."""
    aliases = table({"@example.org": "@two.example", "@two.example": "@example.org"})
    assert len(list(aliases.problems())) == 2
    with pytest.raises(Endless):
        aliases.expand("b@example.org")


_name = st.sampled_from(["a", "b", "c", "d", "a+x", "owner-a", "postmaster", "ann"])
_domain = st.sampled_from(["", "@example.org", "@two.example", "@a.example"])
_target = st.one_of(st.tuples(_name, _domain).map("".join), st.just("@two.example"))
_key = st.one_of(
    st.tuples(_name, st.sampled_from(["@", "@example.org", "@two.example"])).map("".join),
    st.sampled_from(["@example.org", "@two.example"]),
)


@given(
    st.dictionaries(_key, st.lists(_target, min_size=1, max_size=4).map(" ".join), max_size=10),
    st.tuples(_name, st.sampled_from(["@example.org", "@two.example"])).map("".join),
)
def test_any_table_comes_to_an_end(entries: dict[str, str], address: str) -> None:
    """Whatever points where; and with a table that has no problems nothing is ever endless."""
    aliases = table(entries)
    wrong = list(aliases.problems())
    try:
        found = aliases.expand(address)
    except UnknownAddress:
        return
    except Endless:
        assert wrong
        return
    assert len({one.address.lower() for one in found.finals}) == len(found.finals) > 0


FILE = """\
# people
postmaster: ann
staff: ann,
   bob@example.net, "odd name"@example.net ,
# in the middle
   :include:lists/staff
"John Doe": ann
@old.example.org: @example.org
info@example.org : "quoted@name"
"""


def test_an_alias_file_is_read() -> None:
    """Continued lines, comments, quotes, inclusions."""
    assert [(line.number, line.key, line.targets) for line in parse(FILE)] == [
        (2, "postmaster", ("ann",)),
        (3, "staff", ("ann", "bob@example.net", '"odd name"@example.net', ":include:lists/staff")),
        (7, '"John Doe"', ("ann",)),
        (8, "@old.example.org", ("@example.org",)),
        (9, "info@example.org", ('"quoted@name"',)),
    ]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a: |/bin/sh", "not run"),
        ('a: "|/usr/bin/vacation ann"', "not run"),
        ("a: /dev/null", "not written"),
        ('a: "/var/mail/x"', "not written"),
        ("a: :fail: no", "only :include:"),
        ("a: \\ann", "backslash"),
        ("a: ann bob", "comma"),
        ("a:", "no address"),
        ("a ann", "name: address"),
        ("a: Ann <ann@example.org>", "comma"),
        ("a: ann@exa mple.org", "comma"),
        ("  ann", "none before"),
        ("a: ann@example.org>", "not an address"),
        ("a: :include:", "needs the name"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_line(line: str, word: str) -> None:
    """No command is run and no file written, whatever an alias file says."""
    with pytest.raises(AliasSyntax, match=word) as caught:
        list(parse(f"# first\n{line}\n"))
    assert caught.value.line == 2


def test_an_included_list_is_read() -> None:
    """One address a line, or several; it includes no others."""
    assert list(parse_list("# x\nann@a.example\n\nbob, eve@a.example\n")) == [
        (2, "ann@a.example"),
        (4, "bob"),
        (4, "eve@a.example"),
    ]
    with pytest.raises(AliasSyntax):
        list(parse_list(":include:other"))


@given(st.text(alphabet='ab@:,"\\| /\n\t#<>.+', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another exception, and what comes out can be read again."""
    try:
        lines = list(parse(text))
    except AliasSyntax:
        return
    for line in lines:
        (again,) = parse(f"{line.key}: {', '.join(line.targets)}")
        assert (again.key, again.targets) == (line.key, line.targets)
