"""MTA-STS in the running service: real policy hosts, real certificates, attacks."""

import json
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from pki import Authority
from policy_host import PolicyHost
from receiver import Receiver
from relay_process import Relay, eventually, free_port, installed
from stub_dns import StubDns

pytestmark = pytest.mark.flow

# Policies are served at port 443: each process that runs tests has addresses of its own for it
_NET = f"127.0.{30 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"
WEB, BROKEN_WEB = f"{_NET}.1", f"{_NET}.2"
# Domain: mode, hosts of the policy, names in the certificate of its mail exchanger (None: it
# offers no STARTTLS), verdict, what is required, what is reached
CASES = {
    "good.test": ("enforce", "mx.good.test", "mx.good.test", "delivered", "sts", "sts"),
    "wild.test": ("enforce", "*.wild.test", "*.wild.test", "delivered", "sts", "sts"),
    "name.test": ("enforce", "mx.name.test", "other.test", "deferred", "sts", ""),
    "stripped.test": ("enforce", "mx.stripped.test", None, "deferred", "sts", ""),
    "forged.test": ("enforce", "mail.forged.test", "mx.forged.test", "deferred", "", ""),
    "trial.test": ("testing", "mail.trial.test", "other.test", "delivered", "sts", "encrypted"),
    "none.test": ("none", "mail.none.test", "mx.none.test", "delivered", "may", "verified"),
    "web.test": ("enforce", "mail.web.test", "mx.web.test", "delivered", "may", "verified"),
}
SETTINGS = """
[retry]
steps = ["5m"]

[tls]
trust = "{authority}"

[log]
json_lines = "{log}"

[tls_report]
contact = "tls-reports@home.test"
organization = "Home"
"""


class World:
    """The domains of ``CASES``, and a relay that sends to them."""

    def __init__(self, directory: Path, name_server: StubDns, relays: Callable[..., Relay]):
        self.zone = name_server.zone
        self.authority = Authority(directory)
        self.port = free_port()
        self.receivers: dict[str, Receiver] = {}
        self.webs = self._webs()
        for number, domain in enumerate(CASES, 1):
            self._domain(domain, f"127.0.2.{number}")
        self.log = directory / "log.jsonl"
        extra = SETTINGS.format(authority=self.authority.file, log=self.log)
        self.relay = relays(self.port, extra=extra)

    def _webs(self) -> list[PolicyHost]:
        names = [f"mta-sts.{domain}" for domain in CASES]
        good = self.authority.issue(*names)
        bad = self.authority.issue(*names, expired=True)
        try:
            return [
                PolicyHost(*good, address=WEB, port=443),
                PolicyHost(*bad, address=BROKEN_WEB, port=443),
            ]
        except PermissionError:
            pytest.skip("port 443 is for root")

    def _domain(self, domain: str, address: str) -> None:
        mode, hosts, names, *_ = CASES[domain]
        self.zone[domain, "MX"] = [f"10 mx.{domain}."]
        self.zone[f"mx.{domain}", "A"] = [address]
        self.zone[f"mta-sts.{domain}", "A"] = [BROKEN_WEB if domain == "web.test" else WEB]
        self.publish(domain, "1", mode, hosts)
        options = {}
        if names is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.authority.issue(names))
            options["tls_context"] = context
        self.receivers[domain] = Receiver(address=address, port=self.port, **options)

    def publish(self, domain: str, record: str, mode: str, *hosts: str) -> None:
        """Put a policy on the web, and its record into the DNS."""
        self.zone[f"_mta-sts.{domain}", "TXT"] = [f'"v=STSv1; id={record};"']
        mx = "".join(f"mx: {host}\n" for host in hosts)
        text = f"version: STSv1\nmode: {mode}\n{mx}max_age: 86400\n"
        for web in self.webs:
            web.bodies[f"mta-sts.{domain}"] = text.encode()

    def attempts(self) -> dict[str, dict[str, Any]]:
        """What came of the last attempt for each domain."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        records = [json.loads(line) for line in lines]
        made = [one for one in records if one["type"] in ("Delivery", "TransientFailure")]
        return {one["recipient"].partition("@")[2]: one for one in made}

    def close(self) -> None:
        for one in (*self.receivers.values(), *self.webs):
            one.close()


@pytest.fixture
def world(tmp_path: Path, name_server: StubDns, relays: Callable[..., Relay]) -> Iterator[World]:
    made = World(tmp_path, name_server, relays)
    yield made
    made.close()


def test_sts(world: World) -> None:
    """Each domain gets mail as its policy says, and what was decided can be read afterwards."""
    relay = world.relay
    relay.start()
    relay.send([f"u@{domain}" for domain in CASES], "private")
    eventually(lambda: set(world.attempts()) == set(CASES))
    found = world.attempts()
    for domain, (_, _, _, verdict, required, reached) in CASES.items():
        one = found[domain]
        assert one["status"] == ("sent" if verdict == "delivered" else verdict), one
        assert one["tls_required"] == required, one
        assert verdict == "deferred" or one["tls_level"] == reached, one
        assert len(world.receivers[domain].envelopes) == (verdict == "delivered")
    texts = {domain: one["response"]["content"] for domain, one in found.items()}
    assert "other.test, not for mx.name.test" in texts["name.test"]
    assert "does not offer STARTTLS" in texts["stripped.test"]
    assert "not in the MTA-STS policy of forged.test" in texts["forged.test"]
    assert found["trial.test"]["tls_observed"].startswith("would have left this host alone")
    answers = json.loads(relay.mta("why", "u@forged.test", "--json").stdout)["answers"]
    waits = {one["recipient"].partition("@")[2] for one in answers if one["blocked_by"] == "TLS"}
    assert waits == {domain for domain, case in CASES.items() if case[3] == "deferred"}
    _listed(world)
    _replaced(world)
    relay.stop()


# What a plug-in for policies tells Postfix (3.7 has none of its own), and what Postfix makes of it:
# whether its client proves the host
PLUGIN = {"enforce": "secure", "testing": "may", "none": "may"}
PROVED = {"good.test", "wild.test"}


def finger(world: World, domain: str) -> str:
    """Return the last word of Postfix's client about the domain's host, at the plug-in's level."""
    mode, hosts, *_ = CASES[domain]
    mode = "none" if domain == "web.test" else mode  # its policy cannot be fetched
    receiver = world.receivers[domain]
    address = f"[127.0.2.{list(CASES).index(domain) + 1}]:{receiver.port}"
    match = [hosts.removeprefix("*")] if PLUGIN[mode] == "secure" else []
    done = subprocess.run(
        ["posttls-finger", "-c", "-l", PLUGIN[mode], "-L", "summary", "-s", f"mx.{domain}",
         "-F", str(world.authority.file), address, *match],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = (done.stderr + done.stdout).splitlines()
    said = [line.partition(": ")[2] for line in lines if "TLS connection established" in line]
    return said[-1] if said else "without TLS"


@pytest.mark.skipif(not installed("posttls-finger"), reason="needs posttls-finger (postfix)")
def test_postfix_agrees(world: World) -> None:
    """Where a policy is enforced, Postfix finds the same hosts proved (``-s`` shows it)."""
    world.relay.start()
    world.relay.send([f"u@{domain}" for domain in CASES], "private")
    eventually(lambda: set(world.attempts()) == set(CASES))
    found = {domain: finger(world, domain) for domain in CASES}
    for domain, (mode, hosts, names, verdict, _, reached) in CASES.items():
        one = world.attempts()[domain]
        print(
            f"{domain:14} {mode:8} {hosts:18} {names!s:15} {verdict:9} {reached:9}"
            f" {one['status']:9} {one['tls_level'] or '-':9} {found[domain].split(' to ')[0]}"
        )
    assert {domain for domain, said in found.items() if said.startswith("Verified")} == PROVED


def _listed(world: World) -> None:
    """What ``mta sts`` says of it."""
    listed = [
        json.loads(one) for one in world.relay.mta("sts", "list", "--json").stdout.splitlines()
    ]
    assert {one["domain"]: one["in_force"] for one in listed} == {
        domain: domain != "web.test" for domain in CASES
    }
    assert listed[-2]["result"] == "sts-webpki-invalid"
    shown = world.relay.mta("sts", "show", "forged.test").stdout
    assert "mx.forged.test: not named: no mail goes there" in shown
    assert "certificate must verify" in world.relay.mta("sts", "show", "good.test").stdout
    assert world.relay.mta("sts", "show", "nothing.test", check=False).returncode == 1
    _explained(world)


def _explained(world: World) -> None:
    """``mta explain`` says beforehand what the delivery came to, from the same policies."""
    for domain, (mode, _, _, verdict, required, _) in CASES.items():
        done = world.relay.mta("explain", f"u@{domain}", "--connect", "--json", check=False)
        told = json.loads(done.stdout)
        assert done.returncode == (verdict == "deferred"), told
        (host,) = told["recipients"][0]["hosts"]
        assert host["tls"].get("level", "") == required, host
        assert host["sts"]["mode"] == ("none" if domain == "web.test" else mode), host
    shown = world.relay.mta("explain", "u@forged.test", check=False).stdout
    assert "which does not name this host" in shown


def _replaced(world: World) -> None:
    """A policy that the site has mended is found when it stands in the way."""
    world.publish("forged.test", "2", "enforce", "mx.forged.test")
    assert "mx: mx.forged.test" in world.relay.mta("sts", "refresh", "forged.test").stdout
    world.relay.mta("queue", "retry", "--domain", "forged.test", "--yes")
    world.receivers["forged.test"].wait(1)


def test_requiretls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUIRETLS goes where a policy proves the host and the host promises it; else it returns."""
    asked: list[str] = []

    async def announce(
        receiver: Receiver, _server: Any, session: Any, _envelope: Any, name: str, lines: list[str]
    ) -> list[str]:
        session.host_name = name
        promises = receiver is world.receivers["good.test"]
        return [lines[0], *(["250-REQUIRETLS"] if promises else []), *lines[1:]]

    def parameters(server: Any, given: list[str]) -> Any:
        asked.extend(one for one in given if one == "REQUIRETLS")
        return original(server, [one for one in given if one != "REQUIRETLS"])

    original = SMTP._getparams
    monkeypatch.setattr(SMTP, "_getparams", parameters)
    monkeypatch.setattr(Receiver, "handle_EHLO", announce, raising=False)
    world.relay.start()
    for domain in ("good.test", "wild.test", "trial.test"):
        with world.relay.client() as client:
            message = f"Subject: private\n\nto {domain}\n"
            client.sendmail("app@home.test", [f"u@{domain}"], message, ["REQUIRETLS"])
    world.receivers["good.test"].wait(1)
    eventually(lambda: world.relay.log.count("status=bounced") >= 2)
    lines = [line for line in world.relay.log.splitlines() if "dsn=5.7.30" in line]
    assert asked == ["REQUIRETLS"]
    assert any("to=<u@wild.test>" in one and "does not offer REQUIRETLS" in one for one in lines)
    assert any("to=<u@trial.test>" in one for one in lines)
    assert not world.receivers["wild.test"].envelopes + world.receivers["trial.test"].envelopes


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sessions_are_reported(world: World, database: str, request: pytest.FixtureRequest) -> None:
    """Each session counts under the policy that it was held to, and its failure has its name."""
    relay = world.relay
    if database == "postgresql":
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    domains = {"good.test": "", "name.test": "certificate-host-mismatch",
               "stripped.test": "starttls-not-supported"}  # fmt: skip
    for domain in domains:
        world.zone[f"_smtp._tls.{domain}", "TXT"] = ['"v=TLSRPTv1; rua=mailto:tls@there.test"']
    relay.start()
    relay.send([f"u@{domain}" for domain in domains], "counted")
    eventually(lambda: set(world.attempts()) == set(domains))
    assert relay.stop() == 0  # which writes what was counted
    for domain, result in domains.items():
        shown = relay.mta("tls", "report", "--preview", domain, "--day", "today").stdout
        (policy,) = json.loads(shown)["policies"]
        told = policy["policy"]
        assert (told["policy-type"], told["policy-domain"]) == ("sts", domain)
        assert f"mx: mx.{domain}" in told["policy-string"]
        failed = 1 if result else 0
        assert policy["summary"] == {
            "total-successful-session-count": 1 - failed,
            "total-failure-session-count": failed,
        }
        details = policy.get("failure-details", [])
        assert [one["result-type"] for one in details] == [result] * failed
        assert all(one["receiving-mx-hostname"] == f"mx.{domain}" for one in details)
