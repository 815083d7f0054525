"""The tables of addresses: what becomes of them, and what is said of faults."""

from pathlib import Path

import pytest

from mta.config import ConfigError
from mta.config.build import routes
from mta.config.build_addresses import addresses
from mta.policy.aliases import UnknownAddress

ALIASES = """\
postmaster: ann
staff: ann, bob@example.org,
  :include:lists/staff
owner-staff: bob
"""


def finals(tables, address):
    """Expand."""
    return [one.address for one in tables.local.expand(address).finals]


def faults(configured, text):
    """Return file name, place and text of what is wrong."""
    settings = configured(text)
    with pytest.raises(ConfigError) as caught:
        addresses(settings)
    return [(one.file.name, one.where, one.text) for one in caught.value.problems]


def test_without_tables_there_is_nothing(configured):
    """Nothing costs anything."""
    assert addresses(configured()) is None


def test_all_of_it(configured, tmp_path: Path):
    """Every key arrives; relative files begin at the configuration, includes at their file."""
    (tmp_path / "maps" / "lists").mkdir(parents=True)
    (tmp_path / "maps" / "aliases").write_text(ALIASES)
    (tmp_path / "maps" / "lists" / "staff").write_text("# them\neve@example.net\n")
    (tmp_path / "people").write_text("# mailboxes\nann\nbob@example.org\n")
    (tmp_path / "table").write_text(".internal.example.org  @example.org\n# x\n")
    (tmp_path / "secrets").write_text("new\nformer\n")
    tables = addresses(
        configured(
            """
            [[domain]]
            name = "Example.org"
            recipient_files = ["people"]
            alias_files = ["maps/aliases"]
            [[domain]]
            name = "example.com"
            catch_all = ["ann@example.org"]
            [[domain]]
            name = "backup.example"
            [[domain]]
            name = "mixed.example"
            aliases = { info = ["x@example.net"] }
            unknown = "accept"
            [addresses]
            aliases = { abuse = ["ann@example.org"], "@old.example" = ["@example.org"] }
            extension = "-"
            most = 50
            [[domain]]
            name = "old.example"
            [[rewrite]]
            name = "hosts"
            recipients = false
            mail = "all"
            files = ["table"]
            [srs]
            domain = "example.org"
            secret_file = "secrets"
            max_age = "10d"
            hash_length = 6
            """
        )
    )
    assert tables is not None
    assert finals(tables, "staff@example.org") == [
        "ann@example.org",
        "bob@example.org",
        "eve@example.net",
    ]
    found = tables.local.expand("staff-x@example.org")
    assert found.steps[0].where == "maps/aliases:2"
    assert found.finals[0].owner == "owner-staff@example.org"
    assert finals(tables, "any@example.com") == ["ann@example.org"]
    assert finals(tables, "any@backup.example") == ["any@backup.example"]
    assert finals(tables, "any@mixed.example") == ["any@mixed.example"]
    assert finals(tables, "abuse@backup.example") == ["ann@example.org"]
    assert finals(tables, "bob@old.example") == ["bob@example.org"]
    with pytest.raises(UnknownAddress):
        tables.local.expand("nobody@example.org")
    assert tables.local.most == 50
    (canonical,) = tables.canonical
    assert (canonical.name, canonical.senders, canonical.recipients) == ("hosts", True, False)
    assert (canonical.submission, canonical.relay) == (True, True)
    assert canonical.table.rewrite("x@db.internal.example.org") == "x@example.org"
    assert tables.srs is not None
    assert tables.srs.secrets == (b"new", b"former")
    assert (tables.srs.max_age_days, tables.srs.hash_length) == (10, 6)


def test_every_fault_has_its_file_and_line(configured, tmp_path: Path):
    """All at once; commands and files are refused when the configuration is read."""
    (tmp_path / "pipes").write_text("ok: ann\nvacation: |/usr/bin/vacation\n")
    (tmp_path / "twice").write_text("info: ann\ninfo: bob\n\nx@example.net: ann\n")
    (tmp_path / "include").write_text("info2: :include:missing\n")
    (tmp_path / "people").write_text("ann\nann@example.net\nbo b\n")
    found = faults(
        configured,
        """
        [[domain]]
        name = "example.org"
        alias_files = ["pipes", "twice", "include", "nowhere"]
        recipient_files = ["people"]
        """,
    )
    assert [one[:2] for one in found] == [
        ("people", ":2"),
        ("people", ":3"),
        ("pipes", ":2"),
        ("twice", ":2"),
        ("twice", ":4"),
        ("missing", ""),
        ("nowhere", ""),
    ]
    assert "commands are not run" in found[2][2]
    assert found[3][2] == '"info@example.org" stands there twice, first at twice:1'


def test_circles_and_dead_ends_are_faults(configured, tmp_path: Path):
    """A client never meets them."""
    (tmp_path / "aliases").write_text("a: b\nb: a\nc: nobody\nd: ann\n")
    found = faults(
        configured,
        '[[domain]]\nname = "example.org"\nrecipients = ["ann"]\nalias_files = ["aliases"]\n',
    )
    assert [one[:2] for one in found] == [("aliases", f":{n}") for n in (1, 2, 3)]
    assert "leads back to itself" in found[0][2]
    assert "nobody@example.org is not among the addresses" in found[2][2]


def test_an_extension_s_mark_is_one_character(configured):
    """In words of ours."""
    with pytest.raises(ConfigError, match="must not be longer than 1 character"):
        configured('[addresses]\nextension = "++"')


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[[domain]]\nname = "example.org"\naliases = { a = ["|cat"] }', "aliases"),
        ('[[domain]]\nname = "example.org"\naliases = { a = [] }', "aliases"),
        ('[[domain]]\nname = "example.org"\naliases = { "a@b" = ["c"] }', "aliases"),
        ('[[domain]]\nname = "example.org"\nrecipients = ["a@example.net"]', "recipients"),
        ('[[domain]]\nname = "example.org"\ncatch_all = ["/dev/null"]', "catch_all"),
        ('[srs]\ndomain = "example.org"', "srs"),
        ('[srs]\ndomain = "example.org"\nsecret_file = "x"', "srs.domain"),
        ('[srs]\nsecret_file = "x"', "srs.domain"),  # it would have no effect
        ('[addresses]\naliases = { a = ["b@example.org"] }', "addresses"),
        ('[[rewrite]]\nname = "x"', "rewrite"),
        ('[[rewrite]]\nname = "x"\naddresses = { "a" = "b@c" }', "rewrite"),
        ('[[route]]\nname = "x"\nmx = {}\nrewrite_sender = { "a@b" = "c" }', "route"),
        ('[[route]]\nname = "x"\nmx = {}\nverp_senders = ["a@b"]', "route"),
        (
            '[[listener]]\nname = "x"\nendpoint = "465"\nauth = "required"\nincoming = true',
            "listener",
        ),
    ],
)
def test_what_cannot_be_is_refused(configured, text, where):
    """With the key that is wrong."""
    with pytest.raises(ConfigError) as caught:
        configured(text)
    assert any(one.where.startswith(where) or where in one.where for one in caught.value.problems)


def test_a_route_has_its_table(configured):
    """rewrite_sender and VERP."""
    (one,) = routes(
        configured(
            """
            [[route]]
            name = "news"
            mx = {}
            rewrite_sender = { ".internal.example.org" = "@example.org" }
            verp = true
            verp_delimiters = "-="
            verp_senders = ["news@example.org"]
            """
        )
    )._routes
    assert one.rewrite_sender is not None
    assert one.rewrite_sender.rewrite("a@x.internal.example.org") == "a@example.org"
    assert (one.verp, len(one.verp_senders)) == ("-=", 1)
