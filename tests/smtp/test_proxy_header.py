"""The PROXY header: whole, octet by octet, with what follows it, and everything that is none."""

import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.smtp.proxy_header import LONGEST, ProxyHeader, ProxyHeaderError, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command, family, block):
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


V4 = ipaddress.ip_address("192.0.2.7").packed + ipaddress.ip_address("198.51.100.1").packed
V6 = ipaddress.ip_address("2001:db8::7").packed + ipaddress.ip_address("2001:db8::1").packed
PORTS = struct.pack("!HH", 4711, 465)
TLV = b"\x03\0\4\1\2\3\4" + b"\x20\0\5\7\0\0\0\0"

GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\r\n", "192.0.2.7", 4711),
    (b"PROXY TCP6 2001:db8:0::7 2001:db8::1 4711 465\r\n", "2001:db8::7", 4711),
    (b"PROXY UNKNOWN\r\n", "", 0),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", 0),
    (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
     "ffff:" * 7 + "ffff", 65535),
    (binary(0x21, 0x11, V4 + PORTS), "192.0.2.7", 4711),
    (binary(0x21, 0x11, V4 + PORTS + TLV), "192.0.2.7", 4711),
    (binary(0x21, 0x21, V6 + PORTS), "2001:db8::7", 4711),
    (binary(0x21, 0x21, V6 + PORTS + TLV * 200), "2001:db8::7", 4711),
    (binary(0x21, 0x00, b""), "", 0),
    (binary(0x21, 0x00, TLV), "", 0),
    (binary(0x21, 0x31, b"/run/socket".ljust(216, b"\0")), "", 0),
    (binary(0x20, 0x00, b""), "", 0),
    (binary(0x20, 0x11, V4 + PORTS), "", 0),
    (binary(0x21, 0x11, (V4 + PORTS).ljust(LONGEST - 16, b"\0")), "192.0.2.7", 4711),
]  # fmt: skip


@pytest.mark.parametrize(("header", "client", "port"), GOOD)
def test_headers(header, client, port):
    """Both versions, octet by octet, and what follows is not part of it."""
    expected = ProxyHeader(client, port, len(header))
    for end in range(len(header)):
        assert parse(header[:end]) is None
    assert parse(header) == expected
    assert parse(header + b"\x16\x03\x01PROXY TCP4\r\n" + header) == expected


@pytest.mark.parametrize(
    ("data", "needed"),
    [
        (b"EHLO me\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"PROXYTCP4 192.0.2.7", 6),
        (b"proxy TCP4 192.0.2.7 198.51.100.1 4711 465\r\n", 1),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\n", 43),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r465\r\n", 40),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465".ljust(200), 107),
        (b"PROXY TCP4 192.0.2.7  198.51.100.1 4711 465\r\n", 45),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", 40),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465 1\r\n", 46),
        (b"PROXY TCP4 192.0.2.007 198.51.100.1 4711 465\r\n", 46),
        (b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 465\r\n", 45),
        (b"PROXY TCP6 fe80::7%eth0 2001:db8::1 4711 465\r\n", 46),
        (b"PROXY TCP4 192.0.2.7 app 4711 465\r\n", 35),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 465\r\n", 45),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 0465\r\n", 45),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 465\r\n", 42),
        (b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 465\r\n", 44),
        (b"PROXY TCP4 192.0.2.\xb2 198.51.100.1 4711 465\r\n", 44),
        (b"PROXY UNKNOWN \xff\r\n", 17),
        (b"PROXY UNKNOWN a\nEHLO me\r\n", 16),
        (b"PROXY UNKNOWN a\rEHLO me\r\n", 17),
        (b"PROXY \r\n", 8),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", 107),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        (SIGNATURE + b"\x11\x11\0\x0c", 13),
        (SIGNATURE + b"\x22\x11\0\x0c", 13),
        (SIGNATURE + b"\x31\x11\0\x0c", 13),
        (binary(0x21, 0x12, V4 + PORTS), 28),
        (binary(0x21, 0x13, V4 + PORTS), 28),
        (binary(0x21, 0x11, V4), 24),
        (binary(0x21, 0x21, V4 + PORTS), 28),
        (binary(0x21, 0x11, (V4 + PORTS).ljust(LONGEST - 15, b"\0")), 16),
        (SIGNATURE + b"\x21\x11\xff\xff", 16),
    ],
)
def test_what_is_no_header(data, needed):
    """An attack or a mistake is told as soon as it can be seen, not waited for."""
    for end in range(needed):
        assert parse(data[:end]) is None
    for end in range(needed, len(data) + 1):
        with pytest.raises(ProxyHeaderError):
            parse(data[:end])


@given(
    client=st.ip_addresses(),
    port=st.integers(0, 65535),
    tail=st.binary(max_size=64),
    more=st.binary(max_size=300),
)
@example(ipaddress.ip_address("::ffff:192.0.2.7"), 0, b"", b"")
def test_any_address(client, port, tail, more):
    """Whatever is written is what is read, in both versions."""
    family = f"TCP{client.version}"
    text = f"PROXY {family} {client} {client} {port} 25\r\n".encode()
    assert parse(text + tail) == ProxyHeader(str(client), port, len(text))
    block = client.packed * 2 + struct.pack("!HH", port, 25) + more
    header = binary(0x21, 0x11 if client.version == 4 else 0x21, block)
    assert parse(header + tail) == ProxyHeader(str(client), port, len(header))


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda rest: SIGNATURE + rest),
        st.binary(max_size=120).map(lambda rest: b"PROXY " + rest),
        st.text("PROXYTCP46UNKNOWN 0123456789abf:.\r\n", max_size=120).map(str.encode),
    )
)
def test_any_octets(data):
    """Whatever comes is a header, the beginning of one, or none; more of it changes no verdict."""
    verdicts = []
    for end in range(len(data) + 1):
        try:
            verdicts.append(parse(data[:end]))
        except ProxyHeaderError:
            verdicts.append("none")
    settled = [one for one in verdicts if one is not None]
    assert len(set(settled)) <= 1
    assert verdicts[len(verdicts) - len(settled) :] == settled
    if settled and isinstance(settled[0], ProxyHeader):
        assert settled[0].octets == len(verdicts) - len(settled)
