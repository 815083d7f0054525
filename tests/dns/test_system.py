"""Reading ``resolv.conf``."""

import pytest

from mta.dns.system import system_servers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1"]),
        (
            "# a comment\nsearch example.org\nnameserver 192.0.2.1 # first\n"
            "nameserver\t2001:db8::1\n;nameserver 192.0.2.9\noptions edns0\n",
            ["192.0.2.1", "2001:db8::1"],
        ),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("nameserver ns.example.org\nnameserver\n", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_servers(tmp_path, text, expected):
    """The addresses in order, port 53; a server on this host where none is named."""
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert system_servers(path) == tuple((address, 53) for address in expected)


def test_missing_file(tmp_path):
    """The C library's own rule: no file, a server on this host."""
    assert system_servers(tmp_path / "none") == (("127.0.0.1", 53),)
