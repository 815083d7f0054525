"""``[[shaping]]`` and the providers' file, as an operator writes them."""

import tomllib
from pathlib import Path

import pytest

from mta.config import ConfigError
from mta.config.build_shaping import SHIPPED, nobodys, providers, shaping
from mta.mail.site import site_of

ENTRY = """
[[shaping]]
name = "partner"
domains = ["example.net", ".Example.NET"]
connections = 2
messages_per_minute = 30
idle = "1m"
tls_minimum = "TLSv1.3"
"""


def test_an_entry_becomes_a_rule(configured):
    """Every key is translated; what is not said stays unsaid."""
    (rule,) = shaping(configured('[delivery]\nshaping_file = "none"' + ENTRY)).rules
    assert (rule.name, rule.domains) == ("partner", ("example.net", ".example.net"))
    shape = rule.shape
    assert (shape.connections, shape.rates, shape.idle_s) == (2, ((30, 60.0),), 60.0)
    assert (shape.tls_minimum, shape.messages_per_connection) == ("TLSv1.3", None)


def test_an_entry_by_source_becomes_a_rule(configured):
    """Addresses and networks, of both families; of those that no mail goes out from it is told."""
    settings = configured(
        '[delivery]\nshaping_file = "none"\nsource = ["192.0.2.5"]\n'
        '[[shaping]]\nname = "a"\nconnections = 1\nsources = ["192.0.2.5", "2001:db8::/64"]'
    )
    (rule,) = shaping(settings).rules
    assert list(map(str, rule.sources)) == ["192.0.2.5/32", "2001:db8::/64"]
    (doubt,) = nobodys(settings)
    assert doubt.startswith('shaping["a"].sources: no mail goes out from 2001:db8::/64')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"', "needs a limit"),
        ('name = "a"\nconnections = 0', "at least 1"),
        ('name = "a"\none_site = true', "needs mx"),
        ('name = "a"\none_site = true\nmx = ["x.y"]\nsites = ["x"]', "by mx alone"),
        ('name = "a"\none_site = true\nmx = ["x.y"]\nsources = ["::1"]', "by mx alone"),
        ('name = "a"\nconnections = 1\nsources = ["192.0.2.1/24"]', "did you mean"),
        ('name = "a"\nconections = 2', "did you mean"),
        ('name = "a"\nidle = 5', "Write a unit"),
        ('name = "a"\nconnections = 1\n[[shaping]]\nname = "a"\nconnections = 2', "used twice"),
    ],
)
def test_mistakes_are_told(configured, text, words):
    """What is wrong, and what to write instead."""
    with pytest.raises(ConfigError, match=words):
        configured("[[shaping]]\n" + text)


def test_the_shipped_file_is_in_force_unless_told_otherwise(configured):
    """All entries of the package's file, after the operator's."""
    rules = shaping(configured(ENTRY)).rules
    shipped = tomllib.loads(SHIPPED.read_text())["shaping"]
    assert [rule.name for rule in rules] == ["partner", *(one["name"] for one in shipped)]
    assert [rule.provided for rule in rules] == [False] + [True] * len(shipped)


def test_the_large_providers_are_one_site_each():
    """Whatever set of hosts a customer has: Google, Microsoft, Yahoo, Apple."""
    from mta.shaping.rules import Shaping

    found = Shaping(providers("shipped"))
    sets = {
        "google": (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], ["smtp.google.com"]),
        "microsoft-365": (
            ["a-com.mail.protection.outlook.com"],
            ["b-org.b-v1.mx.microsoft"],
        ),
        "outlook.com": (["hotmail-com.olc.protection.outlook.com"],),
        "yahoo": (
            ["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"],
            ["mx-aol.mail.g03.yahoodns.net"],
        ),
        "apple": (["mx01.mail.icloud.com", "mx02.mail.icloud.com"],),
    }
    for name, hosts in sets.items():
        for some in hosts:
            site = found.site(site_of([(10, host) for host in some]), "customer.example")
            assert (site.key, site.name) == (f"site:{name}", name)
            assert site.shape.connections is not None


def test_every_figure_of_the_shipped_file_has_its_source():
    """Each entry says of all its figures, or of each by its name, whence they are, or: a guess."""
    for block in SHIPPED.read_text().split("\n\n"):
        about, begins, entry = block.partition("\n[[shaping]]\n")
        if not begins:
            continue
        figures = set(tomllib.loads(entry)) - {"name", "mx", "one_site"}
        named = {figure for figure in figures if figure in about}
        assert "published" in about or "secondary" in about, block
        assert named in (set(), figures), block
        real = "published, " in about.replace("not published", "") or "secondary" in about
        assert not real or "https://" in about, block


def test_a_file_of_ones_own_replaces_it(configured, tmp_path: Path):
    """Only its entries, and they count as provided."""
    (tmp_path / "mine.toml").write_text('[[shaping]]\nname = "x"\nmx = ["*"]\nconnections = 3\n')
    rules = shaping(configured(f'[delivery]\nshaping_file = "{tmp_path}/mine.toml"')).rules
    assert [(rule.name, rule.provided) for rule in rules] == [("x", True)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("[[shaping]", "TOML"),
        ('[[shaping]]\nname = "x"\nconnections = "many"', "whole number"),
        ('[[provider]]\nname = "x"', "unknown key"),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_name(configured, tmp_path: Path, content, words):
    """A reload keeps the old configuration and says which file is wrong, and where."""
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=words) as caught:
        shaping(configured(f'[delivery]\nshaping_file = "{file}"'))
    assert "mine.toml" in str(caught.value)
