"""Where a domain wants reports: its TXT record, written by anybody (RFC 8460 §3)."""

import pytest

from mta.tlsrpt.record import MOST, address_of, is_https, places

MAIL = "mailto:reports@example.com"
HTTPS = "https://reporting.example.com/v1/tlsrpt"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (b"v=TLSRPTv1;rua=mailto:reports@example.com", (MAIL,)),  # §3.1.1
        (b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", (HTTPS,)),  # §3.1.2
        (f"v=TLSRPTv1 ;\trua={MAIL} , {HTTPS};".encode(), (MAIL, HTTPS)),
        (f"v=TLSRPTv1;x-new=1;rua={MAIL}".encode(), (MAIL,)),  # unknown fields are passed over
        (b"v=TLSRPTv1;rua=mailto:a%2Bb@example.com", ("mailto:a%2Bb@example.com",)),
        (b"v=TLSRPTv1;", ()),
        (b"v=TLSRPTv1;RUA=mailto:reports@example.com", ()),
        (b"v=TLSRPTv2;rua=mailto:reports@example.com", None),
        (b"v=tlsrptv1;rua=mailto:reports@example.com", None),
        (b" v=TLSRPTv1;rua=mailto:reports@example.com", None),
        (b"v=TLSRPTv1", None),
        (b"v=TLSRPTv1x;rua=mailto:reports@example.com", None),
        (b"", None),
    ],
)
def test_a_record_is_read_as_the_rfc_has_it(record: bytes, found: tuple[str, ...] | None) -> None:
    """The version is exact, white space round the semicolons is not."""
    assert places([record, b"v=spf1 -all"]) == found


def test_two_records_are_none() -> None:
    """§3: if there is not one, senders assume that the domain does not want reports."""
    one = b"v=TLSRPTv1;rua=mailto:reports@example.com"
    assert places([one, one]) is None
    assert places([]) is None


@pytest.mark.parametrize(
    "uri",
    [
        "http://reports.example.com/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://127.0.0.1:25/",
        "https://",
        "https:///path",
        "https://user:secret@example.com/",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: other",
        "https://example.com/\u00fc",
        "https://[::1",
        "https://example.com/" + "a" * 2000,
        "mailto:",
        "mailto:root",
        "mailto:root@localhost",
        "mailto:root@[127.0.0.1]",
        "mailto:a@example.com%0d%0aBcc:%20b@example.com",
        "mailto:a%00@example.com",
        "mailto:a@example.com, b@example.com",
        "mailto:%22a%20b%22@example.com",
        "mailto:<a@example.com>",
        "mailto:a@example.com?subject=x\r\ny",
        "mailto:a@example.com!10m",
        "mailto:a@" + "x." * 1000 + "com",
        "mailto:\u00fc@example.com",
        "javascript:alert(1)",
    ],
)
def test_weird_places_are_no_places(uri: str) -> None:
    """Attack: the record leads to files, other schemes, our own host, or into our header."""
    assert not address_of(uri)
    assert not is_https(uri)


def test_header_fields_of_a_mailto_are_not_obeyed() -> None:
    """Attack: ``mailto:a@example.com?bcc=...&body=...`` (RFC 6068 §2) names one address."""
    uri = "mailto:a@example.com?bcc=victim@example.net&subject=x%0d%0aX-Evil:%201"
    assert address_of(uri) == "a@example.com"


def test_many_places_are_cut() -> None:
    """Attack: one report to a hundred victims."""
    rua = ",".join(f"mailto:a{n}@example.com" for n in range(30))
    assert places([f"v=TLSRPTv1;rua={rua}".encode()]) == tuple(rua.split(",")[:MOST])


def test_an_oversize_record_is_none() -> None:
    """Attack: a record of 60 KiB."""
    rua = ",".join(f"mailto:a{n}@example.com" for n in range(3000))
    assert places([f"v=TLSRPTv1;rua={rua}".encode()]) is None
