"""The signed messages in RFC 6376 and RFC 8463."""

import base64
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mta.dkim.canonical import BodyHash, field
from mta.dkim.keys import Key

BODY = b"Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n"
BODY_HASH = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
FIELDS = {
    "received": b"Received: from client1.football.example.com  [192.0.2.1]\r\n"
    b"      by submitserver.example.com with SUBMISSION;\r\n"
    b"      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n",
    "from": b"From: Joe SixPack <joe@football.example.com>\r\n",
    "to": b"To: Suzie Q <suzie@shopping.example.net>\r\n",
    "subject": b"Subject: Is dinner ready?\r\n",
    "date": b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
    "message-id": b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
}
RFC_6376_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCK"
    "G9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaN"
    "BcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
RFC_6376_SIGNATURE = (
    "AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+Nah"
    "M6L/LbvaHutKVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV4bmp/YzhwvcubU4="
)


@pytest.mark.parametrize("form", ["simple", "relaxed"])
def test_body(form: str) -> None:
    """RFC 6376 A.2 and RFC 8463 A.3 have the same body and the same ``bh=``."""
    body = BodyHash(form)
    for at in range(0, len(BODY), 7):
        body.feed(BODY[at : at + 7])
    assert base64.b64encode(body.digest()).decode() == BODY_HASH


def test_rfc_6376_a_2_simple() -> None:
    """Our hash of the header in simple form is what the RFC's signature was made over."""
    signature = (
        b"DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n"
        b"      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n"
        b"      h=Received : From : To : Subject : Date : Message-ID;\r\n"
        b"      bh=" + BODY_HASH.encode() + b";\r\n      b=;\r\n"
    )
    signed = b"".join(field(one, "simple") for one in FIELDS.values())
    digest = hashlib.sha256(signed + field(signature, "simple")[:-2]).digest()
    key = serialization.load_der_public_key(base64.b64decode(RFC_6376_KEY))
    key.verify(
        base64.b64decode(RFC_6376_SIGNATURE), digest, padding.PKCS1v15(), Prehashed(hashes.SHA256())
    )


def test_rfc_8463_a_ed25519() -> None:
    """With the RFC's secret key we make the RFC's signature: Ed25519 over the SHA-256."""
    secret = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = Key(
        "football.example.com", "brisbane", ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    )
    names = ["from", "to", "subject", "date", "message-id"]
    unsigned = (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        b" d=football.example.com; i=@football.example.com;\r\n"
        b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        b" subject : date : message-id : from : subject : date;\r\n"
        b" bh=" + BODY_HASH.encode() + b";\r\n b=\r\n"
    )
    signed = b"".join(field(FIELDS[name], "relaxed") for name in names)
    digest = hashlib.sha256(signed + field(unsigned, "relaxed")[:-2]).digest()
    assert base64.b64encode(key.sign(digest)).decode() == (
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    )
    assert key.record == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_the_vectors_can_fail() -> None:
    """A header that differs in one letter is not what was signed."""
    key = serialization.load_der_public_key(base64.b64decode(RFC_6376_KEY))
    with pytest.raises(InvalidSignature):
        key.verify(
            base64.b64decode(RFC_6376_SIGNATURE),
            hashlib.sha256(b"x").digest(),
            padding.PKCS1v15(),
            Prehashed(hashes.SHA256()),
        )
