"""Each result of TLS that a report can have, seen in a report that was really sent.

Hosts that are right and hosts that are wrong in one way each, DANE by a name server that says what
is authentic, policies of MTA-STS on a real web server.  A day passes, and each domain's report goes
by mail through our own queue and by POST to an HTTPS server.
"""

import gzip
import json
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from dane_cases import OTHER, Issued, issue
from pki import Authority
from policy_host import PolicyHost
from receiver import Receiver
from relay_process import Relay, eventually, free_port
from stub_dns import StubDns
from tls_collector import Collector, signed_by

pytestmark = pytest.mark.flow

_NET = f"127.0.{60 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"
WEB, BROKEN_WEB, NO_WEB = f"{_NET}.1", f"{_NET}.2", f"{_NET}.3"
# Domain: type of the policy, what the report says went wrong ("" for a success)
RESULTS = {
    "plain.test": ("no-policy-found", ""),
    "clear.test": ("no-policy-found", "starttls-not-supported"),
    "sts.test": ("sts", ""),
    "stripped.test": ("sts", "starttls-not-supported"),
    "name.test": ("sts", "certificate-host-mismatch"),
    "old.test": ("sts", "certificate-expired"),
    "self.test": ("sts", "certificate-not-trusted"),
    "unlisted.test": ("sts", "validation-failure"),
    "invalid.test": ("sts", "sts-policy-invalid"),
    "away.test": ("sts", "sts-policy-fetch-error"),
    "web.test": ("sts", "sts-webpki-invalid"),
    "dane.test": ("tlsa", ""),
    "key.test": ("tlsa", "validation-failure"),
    "usage.test": ("tlsa", "tlsa-invalid"),
    "bogus.test": ("tlsa", "dnssec-invalid"),
    "wanted.test": ("tlsa", "dane-required"),
}
SIGNED = {domain for domain, (kind, _) in RESULTS.items() if kind == "tlsa"} | {"signed.test"}
SETTINGS = """
[retry]
steps = ["1h"]

[tls]
trust = "{authority}"

[tls_report]
contact = "tls-reports@home.test"
organization = "Home"
delay = "1ms"
spread = "1ms"
private_addresses = true

[[tls_policy]]
name = "wanted"
recipient_domains = ["wanted.test"]
level = "dane-only"
"""


@pytest.fixture
def name_server() -> Iterator[StubDns]:
    """Validates, and finds TLSA records of one host bogus."""
    zone = {("signed.test", "SOA"): ["a. b. 1 2 3 4 5"]}
    with StubDns(zone, SIGNED, {"_tcp.mx.bogus.test"}) as server:
        yield server


class World:
    """The domains of ``RESULTS``, who collects reports, and a relay."""

    def __init__(self, directory: Path, name_server: StubDns, relays: Callable[..., Relay]):
        self.directory = directory
        self.zone = name_server.zone
        self.port = free_port()
        self.authority = Authority(directory)
        self.collector = Collector(directory)
        self.mailbox = Receiver(address="127.0.3.200", port=self.port)
        self.zone["reports.test", "MX"] = ["10 mx.reports.test."]
        self.zone["mx.reports.test", "A"] = ["127.0.3.200"]
        self.zone["reports.test", "A"] = ["127.0.0.1"]
        self.closing: list[Any] = [self.collector, self.mailbox, *self._webs()]
        for number, domain in enumerate(RESULTS, 1):
            self._domain(domain, f"127.0.3.{number}")
        self.relay = relays(self.port, extra=SETTINGS.format(authority=self.authority.file))
        text = self.relay.config.read_text()
        servers = f'servers = ["127.0.0.1:{name_server.port}"]'
        more = 'validating = true\ntest_signed = "signed.test"'
        self.relay.config.write_text(text.replace(servers, f"{servers}\n{more}"))
        self.relay.mta("dkim", "generate", "home.test", "--type", "rsa")

    def _webs(self) -> list[PolicyHost]:
        names = [f"mta-sts.{domain}" for domain, (kind, _) in RESULTS.items() if kind == "sts"]
        try:
            webs = [
                PolicyHost(*self.authority.issue(*names), address=WEB, port=443),
                PolicyHost(
                    *self.authority.issue(*names, expired=True), address=BROKEN_WEB, port=443
                ),
            ]
        except PermissionError:
            pytest.skip("port 443 is for root")
        for domain in RESULTS:
            listed = "mail.else.test" if domain == "unlisted.test" else f"mx.{domain}"
            text = f"version: STSv1\nmode: enforce\nmx: {listed}\nmax_age: 86400\n"
            text = "nonsense\n" if domain == "invalid.test" else text
            for web in webs:
                web.bodies[f"mta-sts.{domain}"] = text.encode()
        return webs

    def _domain(self, domain: str, address: str) -> None:
        """Let a domain be wrong in its way."""
        kind, _ = RESULTS[domain]
        host = f"mx.{domain}"
        self.zone[domain, "MX"] = [f"10 {host}."]
        self.zone[host, "A"] = [address]
        places = f"mailto:tls@reports.test,https://reports.test:{self.collector.port}/{domain}"
        self.zone[f"_smtp._tls.{domain}", "TXT"] = [f'"v=TLSRPTv1; rua={places}"']
        if kind == "sts":
            web = {"web.test": BROKEN_WEB, "away.test": NO_WEB}.get(domain, WEB)
            self.zone[f"mta-sts.{domain}", "A"] = [web]
            self.zone[f"_mta-sts.{domain}", "TXT"] = ['"v=STSv1; id=1;"']
        options = {}
        if domain not in ("clear.test", "stripped.test"):
            options["tls_context"] = self._context(domain, host)
        self.closing.append(Receiver(address=address, port=self.port, **options))

    def _context(self, domain: str, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if RESULTS[domain][0] == "sts" and domain != "self.test":
            name = "else.test" if domain == "name.test" else host
            context.load_cert_chain(*self.authority.issue(name, expired=domain == "old.test"))
            return context
        shown = issue(host)
        file = self.directory / f"{domain}.pem"
        file.write_bytes(shown.key_pem + shown.pem)
        context.load_cert_chain(file)
        record = _tlsa(domain, shown)
        if record:
            self.zone[f"_{self.port}._tcp.{host}", "TLSA"] = [record]
        return context

    def a_day_passes(self, url: str) -> None:
        """Make what was counted today yesterday's."""
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as spool:
            yesterday = {"day": int(time.time()) // 86_400 - 1}
            spool.execute(sqlalchemy.text("UPDATE tls_sessions SET day = :day"), yesterday)
        engine.dispose()

    def close(self) -> None:
        for one in self.closing:
            one.close()


def _tlsa(domain: str, shown: Issued) -> str:
    """Return the TLSA record of a host: right, of another key, or of no use."""
    return {
        "dane.test": shown.tlsa(3, 1, 1),
        "key.test": OTHER.tlsa(3, 1, 1),
        "usage.test": shown.tlsa(1, 1, 1),
    }.get(domain, "")


@pytest.fixture
def world(tmp_path: Path, name_server: StubDns, relays: Callable[..., Relay]) -> Iterator[World]:
    made = World(tmp_path, name_server, relays)
    yield made
    made.relay.stop()
    made.close()


@pytest.mark.timeout(170)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_each_result_is_reported(
    world: World, database: str, request: pytest.FixtureRequest
) -> None:
    """What was counted is what mail and POST say, once unzipped; the mail's signature is good."""
    relay = world.relay
    url = f"sqlite:///{relay.directory}/spool/mta.sqlite"
    if database == "postgresql":
        url = request.getfixturevalue("postgresql_url").replace(
            "postgresql:", "postgresql+psycopg:"
        )
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    relay.start()
    relay.send([f"u@{domain}" for domain in RESULTS], "counted")
    eventually(lambda: len(relay.log.split("to=<u@")) > len(RESULTS))
    assert relay.stop() == 0  # which writes what was counted
    counted = _counted(relay)
    assert counted == Counter({(domain, *RESULTS[domain]): 1 for domain in RESULTS})
    world.a_day_passes(url)
    relay.start()
    world.mailbox.wait(len(RESULTS), 60.0)
    eventually(lambda: len(world.collector.posted) >= len(RESULTS), 60.0)
    by_mail = {}
    for octets, message in zip(
        (octets for _, _, octets in world.mailbox.envelopes), world.mailbox.messages(), strict=True
    ):
        assert signed_by(relay, "home.test", octets)
        assert message["TLS-Report-Submitter"] == "home.test"
        part = list(message.iter_parts())[1]
        assert part.get_content_type() == "application/tlsrpt+gzip"
        by_mail[message["TLS-Report-Domain"]] = json.loads(gzip.decompress(part.get_content()))
    by_post = {
        path[1:]: json.loads(gzip.decompress(body)) for path, _, body in world.collector.posted
    }
    assert {kind for _, kind, _ in world.collector.posted} == {"application/tlsrpt+gzip"}
    assert by_mail == by_post  # the very same report, report-id and all
    assert set(by_mail) == set(RESULTS)
    assert sum(map(_told, by_mail, by_mail.values()), Counter()) == counted
    for domain, report in by_mail.items():
        assert report["report-id"].endswith("@home.test")
        _in_detail(world, domain, report)


def _counted(relay: Relay) -> Counter[tuple[str, str, str]]:
    """What ``mta tls report`` says was counted, by domain, policy and result."""
    told = relay.mta("tls", "report", "--day", "today", "--json").stdout
    return sum(
        (
            Counter({(one["domain"], each["policy"], each["result"] or ""): each["count"]})
            for one in map(json.loads, told.splitlines())
            for each in one["sessions"]
        ),
        Counter(),
    )


def _told(domain: str, report: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """The same from a report."""
    told: Counter[tuple[str, str, str]] = Counter()
    for policy in report["policies"]:
        kind, summary = policy["policy"]["policy-type"], policy["summary"]
        told[domain, kind, ""] += summary["total-successful-session-count"]
        failures = policy.get("failure-details", [])
        for one in failures:
            told[domain, kind, one["result-type"]] += one["failed-session-count"]
        failed = sum(one["failed-session-count"] for one in failures)
        assert failed == summary["total-failure-session-count"]
    return +told


def _in_detail(world: World, domain: str, report: dict[str, Any]) -> None:
    """Whom a report is about, and with which host it happened (RFC 8460 §4.4)."""
    (policy,) = report["policies"]
    kind, result = RESULTS[domain]
    about = f"mx.{domain}" if kind == "tlsa" else domain
    assert policy["policy"]["policy-domain"] == about
    if kind == "tlsa" and domain in ("dane.test", "key.test"):
        (record,) = world.zone[f"_{world.port}._tcp.mx.{domain}", "TLSA"]
        assert policy["policy"]["policy-string"] == [record]
    for failure in policy.get("failure-details", []):
        assert failure["receiving-mx-hostname"] == f"mx.{domain}"
        assert failure["failure-reason-code"]
        if "receiving-ip" in failure:  # of a host that was dialled
            assert failure["receiving-ip"] == world.zone[f"mx.{domain}", "A"][0]
            assert failure["sending-mta-ip"] == "127.0.0.1"
    assert bool(result) == ("failure-details" in policy)
