"""Single settings: endpoints, networks, names, patterns, servers."""

import ipaddress
import subprocess
import sys

import pytest

from mta.config import values
from mta.config.endpoints import endpoint


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("465", "tcp:465"),
        (465, "tcp:465"),
        ("127.0.0.1:465", "tcp:465:interface=127.0.0.1"),
        ("[::1]:587", r"tcp6:587:interface=\:\:1"),
        ("[::]:465", r"tcp6:465:interface=\:\:"),
        ("tcp:2465:interface=192.0.2.1", "tcp:2465:interface=192.0.2.1"),
        ("unix:/run/mta/smtp", "unix:/run/mta/smtp"),
        ("systemd:domain=INET6:name=smtps", "systemd:domain=INET6:name=smtps"),
    ],
)
def test_endpoints(written: object, meant: str):
    """Short forms become endpoint strings; those stay; an inherited socket need not be there."""
    assert endpoint(written) == meant


def test_a_plain_endpoint_waits_for_no_reactor():
    """What Twisted would say of a port, an address and a backlog is known without it."""
    code = (
        "import sys\nfrom mta.config.endpoints import endpoint\n"
        "endpoint('tcp:25:interface=192.0.2.1:backlog=1024')\nsys.exit('twisted' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("tpc:465", "Unknown endpoint type"),
        ("tcp:smtps", "no endpoint"),
        ("tcp", "no endpoint"),
        ("localhost:465", "127.0.0.1:465"),
        ("99999", "at most 65535"),
        ("127.0.0.1:99999", "at most 65535"),
        ("999.0.0.1:25", "no IP address"),
        ("ssl:465", 'tls = "implicit"'),
        ("systemd:INET", "systemd:domain=INET6:name=NAME"),
        ("", "no endpoint"),
        (True, "in quotes"),
        (4.65, "in quotes"),
    ],
)
def test_endpoints_refused(written: object, advice: str):
    """What cannot be listened on says what to write."""
    with pytest.raises(ValueError) as caught:
        endpoint(written)
    assert advice in str(caught.value)


def test_networks():
    """A network, one address, and one with bits beyond its mask."""
    assert values.network("192.0.2.0/24") == ipaddress.ip_network("192.0.2.0/24")
    assert values.network("::1") == ipaddress.ip_network("::1/128")
    with pytest.raises(ValueError, match=r'did you mean "10.0.0.0/8"'):
        values.network("10.0.0.1/8")
    for wrong in ("10.0.0.0/33", "example.org", 10):
        with pytest.raises(ValueError):
            values.network(wrong)


def test_names_of_hosts():
    """Names are folded and made ASCII; one label is not a full name."""
    assert values.full_name("Mail.Example.ORG.") == "mail.example.org"
    assert values.full_name("m\u00fcller.example") == "xn--mller-kva.example"
    assert values.full_name("localhost") == "localhost"
    assert values.host("[2001:DB8::1]") == "2001:db8::1"
    for wrong in ("relay", "-a.example", "a..example", "a b.example", "", "x" * 64 + ".example", 3):
        with pytest.raises(ValueError):
            values.full_name(wrong)


def test_patterns():
    """Exact, below, any, and the null sender."""
    assert [
        values.domain_pattern(p) for p in ("Example.ORG", ".example.org", "*.b\u00fc.example")
    ] == [
        "example.org",
        ".example.org",
        ".xn--b-eha.example",
    ]
    assert (values.domain_pattern("*"), values.domain_pattern("<>")) == ("*", "")
    for wrong in ("", "*example.org", "a.*.example", "*.", "user@example.org"):
        with pytest.raises(ValueError):
            values.domain_pattern(wrong)


def test_name_servers():
    """Addresses with and without a port, there and back; names are refused."""
    for written, meant in (
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
        ("::1", ("::1", 53)),
    ):
        assert values.dns_server(written) == meant
        assert values.dns_server(values.write_dns_server(meant)) == meant
    for wrong in ("dns.example", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:", "[::1", 53):
        with pytest.raises(ValueError):
            values.dns_server(wrong)


def test_addresses():
    """A mail address or nothing; no header can be smuggled in."""
    assert values.address("Post.Master@Example.ORG") == "Post.Master@example.org"
    assert values.address("") == ""
    for wrong in ("postmaster", "a b@example.org", "a@example.org\nBcc: x", "<a@example.org>"):
        with pytest.raises(ValueError):
            values.address(wrong)
