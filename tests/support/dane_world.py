"""A signed DNS, hosts of every kind and this program, in a network and mount namespace of its own.

Run as ``unshare -n -m python dane_world.py DIRECTORY``; writes to standard output, as one JSON
object, what came of each case of ``dane_cases``, and what Postfix says of it (``posttls-finger``).
NSD serves the zones, signed by ldns, from a root of their own; Unbound validates.
"""

import json
import os
import pwd
import re
import shutil
import signal
import ssl
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
from aiosmtpd.controller import Controller
from dane_cases import BROKEN, CASES, Case, Host
from relay_process import Relay, eventually

AUTHORITY, RESOLVER = "127.0.0.2", "127.0.0.1"
ZONES = ("good.test", "plain.test", "bogus.test", *BROKEN)
_HEAD = """\
$ORIGIN {origin}
$TTL 300
@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@ NS ns.test.
"""


def run(*command: str, where: Path | None = None) -> str:
    """Run a program to its end."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=where, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Zones:
    """The zones, signed, and who serves them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: dict[str, list[str]] = {zone: [] for zone in (".", "test", *ZONES)}

    def add(self, owner: str, record: str) -> None:
        """Put a record into the zone that it belongs to."""
        zones = [zone for zone in self.records if zone != "." and f".{owner}".endswith(f".{zone}")]
        self.records[max(zones, key=len)].append(f"{owner}. {record}")

    def serve(self) -> None:
        """Sign everything from below, and start NSD and Unbound."""
        for zone in (*BROKEN, "good.test", "bogus.test", "plain.test"):
            ds = self._sign(zone, signed=zone != "plain.test")
            if zone in BROKEN or zone == "bogus.test":
                ds = ds and self._key(zone)[1]  # of a key that signs nothing
            parent = "good.test" if zone in BROKEN else "test"
            self.records[parent] += [f"{zone}. NS ns.test.", *([ds] if ds else [])]
        self.records["test"].append(f"ns.test. A {AUTHORITY}")
        ds = self._sign("test")
        self.records["."] += ["test. NS ns.test.", ds, f"ns.test. A {AUTHORITY}"]
        anchor = self._sign(".")
        (self.directory / "anchor").write_text(anchor + "\n")
        (self.directory / "hints").write_text(f". 60 NS ns.test.\nns.test. 60 A {AUTHORITY}\n")
        self._start("nsd", self._nsd(), "-d")
        self._start("unbound", self._unbound(), "-d")

    def _sign(self, zone: str, *, signed: bool = True) -> str:
        """Write a zone; return its DS record, "" if it is not signed."""
        origin = "." if zone == "." else f"{zone}."
        file = self.directory / f"{zone}.zone"
        file.write_text(_HEAD.format(origin=origin) + "\n".join(self.records[zone]) + "\n")
        if not signed:
            shutil.copy(file, f"{file}.signed")
            return ""
        key, ds = self._key(zone)
        run("ldns-signzone", "-o", origin, file.name, key, where=self.directory)
        return ds

    def _key(self, zone: str) -> tuple[str, str]:
        algorithm = ("-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom")
        key = run("ldns-keygen", *algorithm, zone, where=self.directory).strip()
        ds = run("ldns-key2ds", "-n", "-2", f"{key}.key", where=self.directory)
        return key, " ".join(ds.split(";")[0].split())

    def _nsd(self) -> str:
        zones = "".join(
            f'zone:\n name: "{zone}"\n zonefile: "{zone}.zone.signed"\n' for zone in self.records
        )
        return (
            f'server:\n ip-address: {AUTHORITY}\n username: ""\n chroot: ""\n database: ""\n'
            f' zonesdir: "{self.directory}"\n pidfile: ""\n zonelistfile: "zones"\n'
            f' xfrdfile: "xfrd"\n xfrdir: "{self.directory}"\n server-count: 1\n'
            f"remote-control:\n control-enable: no\n{zones}"
        )

    def _unbound(self) -> str:
        return (
            f'server:\n interface: {RESOLVER}\n username: ""\n chroot: ""\n pidfile: ""\n'
            f' directory: "{self.directory}"\n use-syslog: no\n do-not-query-localhost: no\n'
            f' root-hints: "hints"\n trust-anchor-file: "anchor"\n do-ip6: no\n'
            f' local-zone: "test." nodefault\n module-config: "validator iterator"\n'
            "remote-control:\n control-enable: no\n"
        )

    def _start(self, program: str, configuration: str, *arguments: str) -> None:
        file = self.directory / f"{program}.conf"
        file.write_text(configuration)
        log = (self.directory / f"{program}.log").open("wb")
        command = [program, *arguments, "-c", str(file)]
        subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        log.close()


class Hosts:
    """The receiving hosts, each at an address of its own."""

    def __init__(self, directory: Path, zones: Zones) -> None:
        self._directory = directory
        self._zones = zones
        self._addresses: Iterator[str] = (f"127.0.1.{n}" for n in range(1, 250))
        self.controllers: list[Controller] = []

    def settle(self, case: Case) -> None:
        """Start the hosts of a case, and publish what there is to publish."""
        for number, host in enumerate(case.hosts):
            address = next(self._addresses)
            self._zones.add(host.name, f"A {address}")
            if host.alias:
                self._zones.add(host.alias, f"CNAME {host.name}.")
            for record in host.tlsa:
                self._zones.add(f"_25._tcp.{host.at or host.name}", f"TLSA {record}")
            if not case.mx:
                self._zones.add(case.domain, f"MX {10 * number} {host.alias or host.name}.")
            self._start(host, address)

    def _start(self, host: Host, address: str) -> None:
        if host.server == "postfix":
            assert host.chain is not None
            postfix(self._directory / "postfix", address, host)
            return
        options = {}
        if host.chain is not None:
            options["tls_context"] = self._context(host, address)
        controller = Controller(Sink(), hostname=address, port=25, **options)
        controller.start()
        self.controllers.append(controller)

    def _context(self, host: Host, address: str) -> ssl.SSLContext:
        assert host.chain is not None
        file = self._directory / f"{address}.pem"
        file.write_bytes(host.chain[0].key_pem + b"".join(one.pem for one in host.chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


class Sink:
    """Takes everything."""

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 2.0.0 Ok: taken"


_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
inet_interfaces = all
inet_protocols = ipv4
myhostname = {name}
mydestination =
relay_domains = static:all
relay_transport = discard:
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_tls_security_level = may
smtpd_tls_chain_files = {home}/chain.pem
alias_maps =
local_recipient_maps =
"""
_MASTER = """\
{address}:25 inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def postfix(home: Path, address: str, host: Host) -> None:
    """Start a Postfix that takes mail for anybody and throws it away."""
    assert host.chain is not None
    for part in ("queue", "data"):
        (home / part).mkdir(parents=True)
    os.chown(home / "data", pwd.getpwnam("postfix").pw_uid, -1)
    names = {"home": home, "address": address, "name": host.name}
    (home / "main.cf").write_text(_MAIN.format(**names))
    (home / "master.cf").write_text(_MASTER.format(**names))
    chain = home / "chain.pem"
    chain.write_bytes(host.chain[0].key_pem + b"".join(one.pem for one in host.chain))
    chain.chmod(0o600)
    run("postfix", "-c", str(home), "start")


def finger(domain: str, directory: Path) -> str:
    """Return in one line what Postfix's client says of a domain."""
    configuration = directory / "finger"
    if not configuration.exists():
        configuration.mkdir()
        lines = ("compatibility_level = 3.6", "inet_protocols = ipv4", "myhostname = relay.test")
        (configuration / "main.cf").write_text("\n".join(lines) + "\n")
    command = ["posttls-finger", "-c", "-l", "dane", "-L", "summary", "-t", "10", domain]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "MAIL_CONFIG": str(configuration)},
    )  # fmt: skip
    lines = [
        line.removeprefix("posttls-finger: ").removeprefix("warning: ")
        for line in (done.stdout + done.stderr).splitlines()
    ]
    telling = [line for line in lines if re.search(r"TLS connection established", line)]
    said = telling or [line for line in lines if line.strip()]
    return said[-1] if said else "connected, without TLS"


def validates() -> bool:
    """Tell whether the resolver is there, and says of the deepest zone that it is authentic."""
    query = dns.message.make_query("good.test.", "SOA", want_dnssec=True)
    try:
        return bool(dns.query.udp(query, RESOLVER, timeout=1).flags & dns.flags.AD)
    except (OSError, dns.exception.DNSException):
        return False


OBSERVED = "bad.good.test"
_RECIPE = """
[[tls_policy]]
name = "at-three"
recipient_domains = ["bad.good.test"]
level = "dane"
observe = true
"""


class Service:
    """This program, running, and one message to all domains."""

    def __init__(self, directory: Path) -> None:
        home = directory / "relay"
        home.mkdir()
        self.relay = Relay(home, dns_port=53, mx_port=25)
        text = self.relay.config.read_text()
        servers = f'servers = ["{RESOLVER}:53"]'
        assert servers in text
        self.relay.config.write_text(text.replace(servers, f"{servers}\nvalidating = true"))
        self.message = ""

    def send(self) -> None:
        """Start, and send the message."""
        self.relay.start()
        self.relay.send([f"u@{case.domain}" for case in CASES], "DANE")
        accepted = re.compile(r": (\w{16}): client=")
        eventually(lambda: accepted.search(self.relay.log))
        self.message = accepted.findall(self.relay.log)[0]

    def attempts(self) -> list[dict[str, object]]:
        """Return all attempts so far, by time."""
        told = json.loads(self.relay.mta("trace", self.message, "--json").stdout)
        attempts: list[dict[str, object]] = told["attempts"]
        return attempts

    def first(self) -> dict[str, dict[str, object]]:
        """Wait for the first attempt at each domain, and return them."""
        eventually(lambda: len({one["number"] for one in self.attempts()}) == len(CASES), 90.0, 0.5)
        status = json.loads(self.relay.mta("status", "--json").stdout)
        assert status["alarms"] == [], status["alarms"]
        assert "DANE is off" not in self.relay.log
        first = {one["number"]: one for one in reversed(self.attempts())}
        return {case.domain: first[number] for number, case in enumerate(CASES)}

    def recipe(self) -> dict[str, object]:
        """Do what docs/tls.rst says for 3 a.m.; return the attempt that follows."""
        before = len(self.attempts())
        with self.relay.config.open("a") as configuration:
            configuration.write(_RECIPE)
        self.relay.tell(signal.SIGHUP)
        eventually(lambda: "configuration and certificates reloaded" in self.relay.log)
        self.relay.mta("queue", "retry", "--domain", OBSERVED, "--yes")
        eventually(lambda: len(self.attempts()) > before, 30.0, 0.5)
        return self.attempts()[-1]


def main() -> None:
    """Build it, use it, tell; the namespace, and all that runs in it, ends with us."""
    status = 1
    try:
        tell(Path(sys.argv[1]))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # whatever threads there are


def tell(directory: Path) -> None:
    """Write what came of it all to standard output."""
    run("ip", "link", "set", "lo", "up")
    (directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions trust-ad edns0\n")
    run("mount", "--bind", str(directory / "resolv.conf"), os.path.realpath("/etc/resolv.conf"))
    zones = Zones(directory)
    hosts = Hosts(directory, zones)
    for case in CASES:
        hosts.settle(case)
        for name in case.mx:
            if name:
                zones.add(case.domain, f"MX 0 {name}.")
    zones.serve()
    eventually(validates)
    service = Service(directory)
    try:
        service.send()
        found = {"attempts": service.first(), "recipe": service.recipe()}
    finally:
        service.relay.stop()
    fingers = {case.domain: finger(case.domain, directory) for case in CASES}
    json.dump({**found, "fingers": fingers}, sys.stdout)


if __name__ == "__main__":
    main()
