"""MTA-STS and DANE of one domain together, in the running service: neither weakens the other."""

import hashlib
import json
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pki import Authority
from policy_host import PolicyHost
from receiver import Receiver
from relay_process import Relay, eventually, free_port
from stub_dns import StubDns

pytestmark = pytest.mark.flow

# Policies are served at port 443: each process that runs tests has an address of its own for it
WEB = f"127.0.{60 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}.1"


@dataclass(frozen=True)
class Case:
    """A domain with a policy, and where its MX records lead."""

    domain: str
    about: str
    usage: int  # of the host's one TLSA record, which is signed
    verdict: str
    required: str  # "": the host is not dialled
    reached: str = ""
    host: str = ""  # "": mx.DOMAIN
    signed: bool = True  # the MX records
    named: bool = True  # the policy names the host
    mode: str = "enforce"
    right: bool = True  # the TLSA record is that of the certificate
    verifies: bool = True  # the certificate is for the host's name
    starttls: bool = True
    known: bool = True  # there is an answer about TLSA records

    @property
    def exchanger(self) -> str:
        return self.host or f"mx.{self.domain}"


CASES = [
    Case("forged.test", "forged MX to a signed zone with DANE, not named", 3, "deferred", "",
         host="mx.evil.test", signed=False, named=False),
    Case("away.test", "MX not signed, host with DANE, named", 3, "delivered", "dane", "dane",
         host="mx.provider.test", signed=False),
    Case("unused.test", "1 1 1 alone, certificate for another name", 1, "deferred", "sts",
         verifies=False),
    Case("unused2.test", "1 1 1 alone, certificate verifies", 1, "delivered", "sts", "sts"),
    Case("stranger.test", "1 1 1 alone, not named", 1, "deferred", "", named=False),
    Case("trial.test", "1 1 1 alone, testing, no STARTTLS", 1, "deferred", "encrypt",
         mode="testing", starttls=False),
    Case("wrong.test", "3 1 1 wrong, certificate verifies", 3, "deferred", "dane", right=False),
    Case("silent.test", "TLSA look-up fails, certificate verifies", 3, "deferred", "",
         known=False),
    Case("both.test", "3 1 1 right, not named, MX signed", 3, "delivered", "dane", "dane",
         named=False),
]  # fmt: skip
SETTINGS = '\n[retry]\nsteps = ["5m"]\n[tls]\ntrust = "{authority}"\n[log]\njson_lines = "{log}"\n'


def tlsa(file: Path, usage: int, *, right: bool) -> str:
    """Return a record about the key of the certificate in ``file``."""
    key = x509.load_pem_x509_certificate(file.read_bytes()).public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{usage} 1 1 {hashlib.sha256(octets if right else b'').hexdigest()}"


class World:
    """The domains, and a relay that believes its resolver."""

    def __init__(self, directory: Path, dns: StubDns, relays: Callable[..., Relay]):
        self._authority, self._dns = Authority(directory), dns
        self._port = free_port()
        names = [f"mta-sts.{one.domain}" for one in CASES]
        try:
            self._web = PolicyHost(*self._authority.issue(*names), address=WEB, port=443)
        except PermissionError:
            pytest.skip("port 443 is for root")
        dns.zone["signed.test", "SOA"] = ["a. b. 1 2 3 4 5"]
        dns.signed.add("signed.test")
        self.receivers = {
            one.domain: self._host(one, f"127.0.3.{number}") for number, one in enumerate(CASES, 1)
        }
        self.log = directory / "log.jsonl"
        extra = SETTINGS.format(authority=self._authority.file, log=self.log)
        self.relay = relays(self._port, extra=extra)
        servers = f'servers = ["127.0.0.1:{dns.port}"]'
        more = '\nvalidating = true\ntest_signed = "signed.test"'
        text = self.relay.config.read_text()
        self.relay.config.write_text(text.replace(servers, servers + more))

    def _host(self, case: Case, address: str) -> Receiver:
        zone, domain, host = self._dns.zone, case.domain, case.exchanger
        certificate, key = self._authority.issue(host if case.verifies else "other.test")
        zone |= {
            (domain, "MX"): [f"10 {host}."],
            (host, "A"): [address],
            (f"_{self._port}._tcp.{host}", "TLSA"): [
                tlsa(certificate, case.usage, right=case.right)
            ],
            (f"mta-sts.{domain}", "A"): [WEB],
            (f"_mta-sts.{domain}", "TXT"): ['"v=STSv1; id=1;"'],
        }
        self._dns.signed |= {host, *([domain] if case.signed else [])}
        if not case.known:
            self._dns.bogus.add(f"_tcp.{host}")
        named = host if case.named else f"mail.{domain}"
        text = f"version: STSv1\nmode: {case.mode}\nmx: {named}\nmax_age: 86400\n"
        self._web.bodies[f"mta-sts.{domain}"] = text.encode()
        options = {}
        if case.starttls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            options["tls_context"] = context
        return Receiver(address=address, port=self._port, **options)

    def attempts(self) -> dict[str, dict[str, Any]]:
        """What came of the attempt for each domain."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        made = [json.loads(line) for line in lines]
        wanted = ("Delivery", "TransientFailure")
        return {one["recipient"].partition("@")[2]: one for one in made if one["type"] in wanted}

    def close(self) -> None:
        for one in (*self.receivers.values(), self._web):
            one.close()


@pytest.fixture
def world(tmp_path: Path, name_server: StubDns, relays: Callable[..., Relay]) -> Iterator[World]:
    made = World(tmp_path, name_server, relays)
    yield made
    made.close()


def test_together(world: World) -> None:
    """Each case has its verdict; ``mta explain`` says so beforehand, ``mta why`` afterwards."""
    relay = world.relay
    relay.start()
    relay.send([f"u@{one.domain}" for one in CASES], "private")
    eventually(lambda: len(world.attempts()) == len(CASES))
    found = world.attempts()
    for case in CASES:
        one = found[case.domain]
        status = "sent" if case.verdict == "delivered" else case.verdict
        seen = (one["status"], one["tls_required"], one["tls_level"])
        print(f"{case.domain:14} {case.about:50} {case.verdict:9} {case.required:8} {seen}")
        assert seen[:2] == (status, case.required), one
        assert len(world.receivers[case.domain].envelopes) == (case.verdict == "delivered")
        if case.reached:
            assert one["tls_level"] == case.reached
        done = relay.mta("explain", f"u@{case.domain}", "--connect", "--json", check=False)
        assert done.returncode == (case.verdict == "deferred"), done.stdout
        (host,) = json.loads(done.stdout)["recipients"][0]["hosts"]
        assert host["tls"].get("level", "") == case.required, host
    told = relay.mta("explain", "u@both.test").stdout
    assert "DANE:       usable 3 1 1 " in told and "... (DNS keeps that for 1m)" in told
    answers = json.loads(relay.mta("why", "u@forged.test", "--json").stdout)["answers"]
    waits = {one["recipient"].partition("@")[2] for one in answers if one["blocked_by"] == "TLS"}
    assert waits == {one.domain for one in CASES if one.verdict == "deferred"}
