"""OpenDKIM, as Debian packages it, signs as a milter; what it signs passes here."""

import shutil
import socket
import struct
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from relay_process import free_port

from mta.dkim.keys import Key
from mta.verify.dkim import Verification

pytestmark = pytest.mark.skipif(
    shutil.which("opendkim") is None, reason="needs opendkim (Debian package opendkim)"
)

FIELDS = [
    ("From", "Ann <ann@example.org>"),
    ("To", 'b@example.com,\n\t"C, D" <c@example.net>'),
    ("Subject", "folded\n  and\ttabbed"),
    ("Date", "Tue, 25 Nov 2025 00:00:00 +0000"),
]
BODY = b"Hi  there\t\r\n\r\n\r\nx \r\n\r\n \r\n\r\n"
KEY = Key("example.org", "m", rsa.generate_private_key(public_exponent=65537, key_size=2048))


class Milter:
    """As much of a mail server as a milter needs to sign one message."""

    def __init__(self, port):
        deadline = time.monotonic() + 20
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", port), 5)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "opendkim does not listen"
                time.sleep(0.05)
            else:
                break

    def say(self, command, data=b"", *, answered=True):
        self._socket.sendall(struct.pack("!I", len(data) + 1) + command + data)
        return self.hear() if answered else None

    def hear(self):
        (length,) = struct.unpack("!I", self._exactly(4))
        answer = self._exactly(length)
        return answer[:1], answer[1:]

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            data += self._socket.recv(count - len(data)) or pytest.fail("opendkim hung up")
        return data

    def close(self):
        self._socket.close()


@pytest.fixture
def sign(tmp_path):
    """Have FIELDS and BODY signed; return the message."""
    started = []

    def do(forms):
        pem = KEY.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (tmp_path / "key").write_bytes(pem)
        (tmp_path / "key").chmod(0o600)
        (tmp_path / "conf").write_text(
            f"Mode s\nSyslog no\nDomain example.org\nSelector m\nKeyFile {tmp_path}/key\n"
            f"Canonicalization {forms}\nInternalHosts 127.0.0.1\nSignatureAlgorithm rsa-sha256\n"
            "RequireSafeKeys no\n"
        )
        port = free_port()
        command = ["opendkim", "-f", "-x", str(tmp_path / "conf"), "-p", f"inet:{port}@127.0.0.1"]
        started.append(subprocess.Popen(command))
        return _signed(Milter(port))

    yield do
    for process in started:
        process.terminate()
        process.wait(10)


def _signed(milter):
    assert milter.say(b"O", struct.pack("!III", 6, 0x1FF, 0))[0] == b"O"
    milter.say(b"C", b"localhost\x004" + struct.pack("!H", 25) + b"127.0.0.1\x00")
    milter.say(b"M", b"<ann@example.org>\x00")
    milter.say(b"R", b"<b@example.com>\x00")
    for name, value in FIELDS:
        milter.say(b"L", f"{name}\0{value}\0".encode())
    milter.say(b"N")
    milter.say(b"B", BODY)
    kind, data = milter.say(b"E")
    added = []
    while kind in b"ihm":
        if kind == b"i":
            added.append(data[4:].rstrip(b"\x00").split(b"\x00"))
        kind, data = milter.hear()
    milter.close()
    fields = added + [[name.encode(), value.encode()] for name, value in FIELDS]
    header = b"".join(name + b": " + value.lstrip() + b"\r\n" for name, value in fields)
    return b"\r\n".join(line.rstrip(b"\r") for line in header.split(b"\n")), len(added)


@pytest.mark.parametrize("forms", ["relaxed/relaxed", "relaxed/simple", "simple/simple"])
def test_opendkim_signs(sign, forms):
    """What OpenDKIM signs passes, and fails when one octet is another."""
    header, signatures = sign(forms)
    assert signatures == 1
    assert f"c={forms}".encode() in header
    for body, value in ((BODY, "pass"), (BODY.replace(b"there", b"There"), "fail")):
        verification = Verification(header, now_s=time.time(), most=5)
        verification.feed(body)
        (result,) = verification.finish([(KEY.record.encode(),)])
        assert (result.value, result.property("header.d")) == (value, "example.org"), header
