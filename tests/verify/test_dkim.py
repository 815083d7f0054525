"""Signatures verified: the RFCs' own, dkimpy's, OpenDKIM's and ours; and what must not pass."""

import base64
import tracemalloc

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.verify.dkim import Verification

NOW_S = 4_000_000_000  # later than any signer
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.generate()
KEYS = [Key("example.org", "r", RSA), Key("example.org", "e", ED)]
PEM = RSA.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)
RECORDS = {key.record_name: key.record.encode() for key in KEYS}
MESSAGE = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject:  a \t folded\r\n  one\r\n"
    b"Received: one\r\nReceived: two\r\n\r\nHello \t there \r\n\r\n.dot\r\nend \r\n\r\n\r\n"
)
RFC_KEYS = {
    "brisbane._domainkey.example.com": b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3"
    b"SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT"
    b"947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    "brisbane._domainkey.football.example.com": b"v=DKIM1; k=ed25519; "
    b"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test._domainkey.football.example.com": b"v=DKIM1; k=rsa; "
    b"p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKB"
    b"gQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/"
    b"e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}
RFC_6376_A_2 = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
RFC_8463_A_3 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


def verified(message, records=RECORDS, *, size=1 << 30, most=5, now_s=NOW_S, first=""):
    """Return the results for a message whose body comes in pieces."""
    end = message.index(b"\r\n\r\n") + 2
    verification = Verification(message[:end], now_s=now_s, most=most, first=first)
    for at in range(end + 2, len(message), size):
        verification.feed(message[at : at + size])
    keys = [
        found if isinstance(found := records.get(one.record_name, ()), tuple | str) else (found,)
        for one in verification.signatures
    ]
    return verification.finish(keys)


def values(*args, **kwargs):
    return [result.value for result in verified(*args, **kwargs)]


def by_dkimpy(**options):
    """MESSAGE, signed by dkimpy."""
    forms = tuple(one.encode() for one in options.pop("forms", ("relaxed", "relaxed")))
    field = dkim.sign(MESSAGE, b"r", b"example.org", PEM, canonicalize=forms, **options)
    return field + MESSAGE


def ours(keys=KEYS, message=MESSAGE):
    """``message``, signed by us."""
    signing, _ = Rules(Keyring(keys)).begin(message, NOW_S, whole=True)
    return signing.finish() + message


def test_rfc_6376_a_2():
    """The signed message of RFC 6376 A.2 passes, in simple form, whatever its pieces."""
    assert values(RFC_6376_A_2, RFC_KEYS) == ["pass"]
    assert values(RFC_6376_A_2, RFC_KEYS, size=3) == ["pass"]
    assert values(RFC_6376_A_2.replace(b"hungry", b"Hungry"), RFC_KEYS) == ["fail"]


def test_rfc_8463_a_3():
    """So does that of RFC 8463, with Ed25519 and RSA."""
    assert values(RFC_8463_A_3, RFC_KEYS) == ["pass", "pass"]


@pytest.mark.parametrize("header", ["simple", "relaxed"])
@pytest.mark.parametrize("body", ["simple", "relaxed"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_dkimpy_signs(header, body, size):
    """What dkimpy signs in any form passes, whatever the pieces are."""
    assert values(by_dkimpy(forms=(header, body)), size=size) == ["pass"]


def test_ours_and_dkimpy_agrees():
    """Our own pass, both algorithms, and one changed octet fails, here as for dkimpy."""
    assert values(ours()) == ["pass", "pass"]
    changed = ours().replace(b"Hello", b"Hallo")
    assert values(changed) == ["fail", "fail"]
    result = verified(changed)[0]
    assert result.reason == "the body has been changed"
    checked = dkim.DKIM(changed)
    with pytest.raises(dkim.ValidationError):
        checked.verify(dnsfunc=lambda name, timeout=5: RECORDS[name.decode().rstrip(".")])


def test_changed_header():
    """A second From above the signed one (the reader would see it) fails: From is oversigned."""
    assert values(ours().replace(b"bob@", b"eve@")) == ["fail", "fail"]
    assert values(b"From: ceo@example.org\r\n" + ours()) == ["fail", "fail"]
    assert verified(ours().replace(b"bob@", b"eve@"))[0].reason == "the signature is wrong"


def test_what_is_reported():
    """A result names domain, selector, algorithm and the beginning of the signature."""
    (result,) = verified(by_dkimpy())
    names = dict(result.properties)
    assert (names["header.d"], names["header.s"]) == ("example.org", "r")
    assert (names["header.a"], len(names["header.b"])) == ("rsa-sha256", 8)
    assert str(result) == "dkim=pass(d=example.org)"


def test_no_signature():
    """A message without one has the result none."""
    assert values(MESSAGE) == ["none"]


def test_appended_to_a_signed_part():
    """Attack: text appended to a message signed with l= does not pass; l= over all does."""
    signed = by_dkimpy(length=True)
    assert b" l=" in signed
    assert values(signed) == ["pass"]
    (result,) = verified(signed + b"Pay here instead.\r\n")
    assert (result.value, result.reason) == ("policy", "it covers a part of the body")


def test_many_signatures_cost_no_more():
    """Attack: of a hundred signatures five are looked at, those of the author's domain first."""
    junk = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=j%d.example; s=s; h=from; bh=aaaa; b=bbbb\r\n" % one
        for one in range(100)
    )
    results = verified(junk + by_dkimpy(), first="example.org")
    assert len(results) == 5
    assert results[0].value == "pass"


def field(**tags):
    """A signature field that is right but for what ``tags`` say."""
    usual = {
        "v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "example.org", "s": "r",
        "h": "from", "bh": base64.b64encode(bytes(32)).decode(), "b": "AAAA",
    }  # fmt: skip
    said = "; ".join(f"{name}={value}" for name, value in {**usual, **tags}.items() if value)
    return f"DKIM-Signature: {said}\r\n".encode() + MESSAGE


@pytest.mark.parametrize(
    ("tags", "value", "reason"),
    [
        ({"a": "rsa-sha1"}, "permerror", "rsa-sha1 is no longer believed"),
        ({"a": "rot13"}, "permerror", "a= is unknown"),
        ({"v": "2"}, "permerror", "v= is not 1"),
        ({"h": "to:subject"}, "permerror", "From is not signed"),
        ({"h": ""}, "permerror", "h= is missing"),
        ({"i": "@evil.example"}, "permerror", "i= is not below d="),
        ({"i": "@notexample.org"}, "permerror", "i= is not below d="),
        ({"c": "odd/relaxed"}, "permerror", "c= is unknown"),
        ({"q": "http"}, "permerror", "q= is unknown"),
        ({"x": str(NOW_S - 1)}, "fail", "the signature has expired"),
        ({"t": str(NOW_S + 9999)}, "policy", "t= is in the future"),
        ({"t": "9", "x": "8"}, "permerror", "x= is before t="),
        ({"l": "many"}, "permerror", "not a number"),
        ({"b": "!"}, "permerror", "not base64"),
        ({"d": "a b@c"}, "permerror", "d= or s= is not a name"),
        ({"l": "9999999"}, "fail", "the body is shorter than it was"),
    ],
)
def test_signatures_of_no_use(tags, value, reason):
    """RFC 6376 §6.1.1: each fault has its result, and its words."""
    (result,) = verified(field(**tags))
    assert (result.value, result.reason) == (value, reason)


def short_key():
    """A record with a key of 512 bits."""
    octets = bytes.fromhex(
        "305c300d06092a864886f70d0101010500034b003048024100" + "c1" * 64 + "0203010001"
    )
    return b"p=" + base64.b64encode(octets)


@pytest.mark.parametrize(
    ("record", "value", "reason"),
    [
        ((), "permerror", "there is no key"),
        ("its key cannot be looked up", "temperror", "its key cannot be looked up"),
        (b"v=DKIM1; p=", "permerror", "its key has been revoked"),
        (b"v=DKIM2; p=AAAA", "permerror", "its key record is none"),
        (b"k=ed25519; p=AAAA", "permerror", "its key is for another algorithm"),
        (b"h=sha1; p=AAAA", "permerror", "its key is not for SHA-256"),
        (b"s=tlsrpt; p=AAAA", "permerror", "its key is not for mail"),
        (b"p=AAAA", "permerror", "its key cannot be read"),
        (b"p=AAA!", "permerror", "its key is not base64"),
        (short_key(), "policy", "its key of 512 bits is too short"),
    ],
)
def test_keys_of_no_use(record, value, reason):
    """RFC 6376 §3.6.1, RFC 8301: a key that is none, not for this, or too weak is not believed."""
    (result,) = verified(by_dkimpy(), {"r._domainkey.example.org": record})
    assert (result.value, result.reason) == (value, reason)


def test_key_not_for_subdomains():
    """t=s in the key's record: a user below the domain is not vouched for."""
    signed = by_dkimpy(identity=b"@sub.example.org")
    strict = {"r._domainkey.example.org": RECORDS["r._domainkey.example.org"] + b"; t=y:s"}
    assert values(signed) == ["pass"]
    assert verified(signed, strict)[0].reason == "its key is not for subdomains"


def test_first_record_that_is_a_key():
    """Other TXT records at the name do no harm."""
    records = {"r._domainkey.example.org": (b"hello", RECORDS["r._domainkey.example.org"])}
    assert values(by_dkimpy(), records) == ["pass"]


def test_bare_line_ends_in_the_header():
    """Attack (BINARYMIME): a header that two readers divide differently is not vouched for."""
    assert values(by_dkimpy().replace(b"To: ", b"X: a\nFrom: ceo@example.org\nTo: ")) == ["policy"]


def test_a_large_message_in_little_memory():
    """50 MB with four signatures in two forms: hashed as it comes, in less than a megabyte."""
    block = b"0123456789 abcdef\t  x\r\n" * 3000
    header = b"".join(
        f"DKIM-Signature: v=1; a=rsa-sha256; c={form}; d=example.org; s=r; h=from;"
        f" bh={base64.b64encode(bytes(32)).decode()}; b=AAAA\r\n".encode()
        for form in ("simple/simple", "relaxed/relaxed", "simple/relaxed", "relaxed/simple")
    )
    verification = Verification(header + b"From: a@example.org\r\n", now_s=NOW_S, most=5)
    tracemalloc.start()
    for _ in range(50_000_000 // len(block)):
        verification.feed(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    results = verification.finish([(RECORDS["r._domainkey.example.org"],)] * 4)
    assert {one.reason for one in results} == {"the body has been changed"}
