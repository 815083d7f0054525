"""``mta dkim``: keys made, rotated, shown, compared with DNS."""

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime

import pytest
from stub_dns import StubDns

from mta.config import load
from mta.config.build import signing_rules
from mta.dkim.store import read_keys

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC
DAY = 86_400_000


@pytest.fixture
def dkim(local):
    """Run ``mta dkim``."""

    def run(*arguments, **more):
        return local.run("dkim", *arguments, **more)

    return run


def states(local, at_ms=NOW):
    """Selector -> state, as the command shows it."""
    result = local.run("dkim", "list", "example.org", "--json", now_ms=at_ms)
    return {key["selector"]: key["state"] for key in map(json.loads, result.stdout.splitlines())}


def signing(local, at_ms=NOW):
    """The selectors that the service would sign with."""
    keys = signing_rules(load(local.config, {}))._keys.find("example.org", at_ms / 1000)
    return [key.selector for key in keys]


def test_generate(local, dkim):
    """Two keys, readable by nobody else; the output is a zone file, and has no secret."""
    result = dkim("generate", "Example.ORG")
    assert result.exit_code == 0
    directory = local.directory / "dkim" / "example.org"
    files = sorted(directory.iterdir())
    assert [path.name for path in files] == ["20270115-ed25519.pem", "20270115-rsa.pem"]
    for path in (*files, directory, directory.parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    records = re.findall(r"^(\S+)\. IN TXT \( (.*) \)$", result.stdout, re.MULTILINE)
    keys = {key.record_name: key.record for key in read_keys(directory.parent)}
    assert {name: "".join(re.findall('"([^"]*)"', text)) for name, text in records} == keys
    assert all(len(part) <= 255 for _, text in records for part in re.findall('"([^"]*)"', text))
    assert "PRIVATE" not in result.output and "SIGHUP" in result.stderr
    assert signing(local) == ["20270115-rsa", "20270115-ed25519"]


def test_generate_one(local, dkim):
    """One algorithm under a name of one's own."""
    assert dkim("generate", "example.org", "--type", "ed25519", "--selector", "s1").exit_code == 0
    assert states(local) == {"s1": "active"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner(local, dkim):
    """Root makes keys for the user that the service runs as; later keys follow the first."""
    dkim("generate", "example.org", "--type", "ed25519", "--owner", "nobody")
    dkim("rotate", "example.org")
    directory = local.directory / "dkim"
    paths = [directory, *directory.rglob("*")]
    assert len(paths) == 4 and {path.owner() for path in paths} == {"nobody"}
    dkim("rotate", "example.org", "--activate")
    assert {path.owner() for path in directory.rglob("*")} == {"nobody"}
    assert dkim("generate", "example.net", "--owner", "no-such-user").exit_code == 67


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("generate", "example.org", "--type", "rsa"), 73, "mta dkim rotate example.org"),
        (("generate", "../etc"), 64, "not a domain name"),
        (("generate", "example.net", "--selector", "a/b"), 64, "cannot be a selector"),
        (("rotate", "example.net"), 1, "mta dkim generate example.net"),
        (("rotate", "example.org", "--selector", "20270115-rsa"), None, ""),
        (("rotate", "example.org", "--activate"), 1, "no next key"),
        (("rotate", "example.org", "--activate", "--selector", "x"), 64, "--selector"),
        (("dns", "example.net"), 1, "no key"),
        (("list", "example.net"), 1, ""),
    ],
)
def test_refused(local, dkim, arguments, status, words):
    """What cannot be done is told with its status, and changes nothing."""
    dkim("generate", "example.org")
    before = sorted(path.name for path in local.directory.rglob("*.pem"))
    result = dkim(*arguments)
    if status is None:
        return
    assert (result.exit_code, words in result.stderr) == (status, True), result.output
    assert sorted(path.name for path in local.directory.rglob("*.pem")) == before


def test_a_selector_is_never_used_twice(dkim):
    """A reader of the old record would not know which key is meant."""
    dkim("generate", "example.org", "--type", "rsa", "--selector", "s1")
    result = dkim("rotate", "example.org", "--selector", "S1")
    assert (result.exit_code, "never used twice" in result.stderr) == (73, True)


def test_rotate(local, dkim):
    """First the record, then the signature: next, then active, and the old ones retire."""
    dkim("generate", "example.org")
    made = dkim("rotate", "example.org")
    assert made.exit_code == 0 and "--activate" in made.stderr
    assert states(local) == {
        "20270115-rsa": "active",
        "20270115-ed25519": "active",
        "20270115-rsa-2": "next",
        "20270115-ed25519-2": "next",
    }
    assert signing(local) == ["20270115-rsa", "20270115-ed25519"]
    assert "20270115-rsa-2._domainkey.example.org. IN TXT" in made.stdout
    assert "20270115-rsa._domainkey" not in made.stdout
    again = dkim("rotate", "example.org")
    assert (again.exit_code, "--activate" in again.stderr) == (73, True)
    activated = dkim("rotate", "example.org", "--activate")
    assert activated.exit_code == 0
    assert sorted(activated.stdout.split()[::2]) == ["active"] * 2 + ["retired"] * 2
    assert signing(local) == ["20270115-rsa-2", "20270115-ed25519-2"]
    assert "; retired" in dkim("dns", "example.org").stdout


def test_rotate_by_itself(local, dkim):
    """With a time configured the next key takes over then; later rotations know which retired."""
    local.config.write_text(local.config.read_text() + '[dkim]\nactivate_after = "3d"\n')
    dkim("generate", "example.org", "--type", "ed25519", "--selector", "s1")
    assert "2027-01-18T08:00:00Z" in dkim("rotate", "example.org", "--selector", "s2").stderr
    assert signing(local, NOW + 3 * DAY - 1000) == ["s1"]
    assert signing(local, NOW + 3 * DAY) == ["s2"]
    later = NOW + 10 * DAY
    assert states(local, later) == {"s1": "retired", "s2": "active"}
    dkim("rotate", "example.org", "--selector", "s3", now_ms=later)
    done = dkim("rotate", "example.org", "--activate", now_ms=later)
    assert done.stdout.split() == [
        "active", "s3._domainkey.example.org", "retired", "s2._domainkey.example.org",
    ]  # fmt: skip
    assert states(local, later) == {"s1": "retired", "s2": "retired", "s3": "active"}
    assert signing(local, later) == ["s3"]


def test_list(local, dkim):
    """A table for people; without keys nothing, and status 1."""
    assert (dkim("list").output, dkim("list").exit_code) == ("", 1)
    dkim("generate", "example.org", "--type", "rsa", "--selector", "s1")
    (head, line) = dkim("list").stdout.splitlines()
    assert head.split() == ["DOMAIN", "SELECTOR", "TYPE", "STATE", "SINCE"]
    assert line.split() == ["example.org", "s1", "rsa", "2048", "active", "2027-01-15T08:00:00Z"]
    moment = datetime.fromtimestamp(NOW / 1000, UTC)
    assert read_keys(local.directory / "dkim")[0].created == moment


def test_a_readable_key(local, dkim):
    """Attack: somebody else can read a key; the command and ``config check`` say so."""
    dkim("generate", "example.org", "--type", "rsa", "--selector", "s1")
    path = local.directory / "dkim" / "example.org" / "s1.pem"
    path.chmod(0o644)
    for result in (dkim("list"), local.run("config", "check")):
        assert result.exit_code == 78
        assert f"{path}: others can read or change this private key (mode 0644)" in result.stderr


@pytest.fixture
def command(local):
    """Run ``mta dkim dns --check`` as a process: the reactor runs once in each."""

    def run(port: int) -> subprocess.CompletedProcess[str]:
        text = local.config.read_text().partition("[dns]")[0]
        local.config.write_text(
            text + f'[dns]\nservers = ["127.0.0.1:{port}"]\ntimeout = "1s"\nattempts = 1\n'
        )
        return local.process("dkim", "dns", "example.org", "--check")

    return run


def test_check_against_dns(local, dkim, command):
    """Records that are there, missing, another key's, revoked, double; a server that is silent."""
    dkim("generate", "example.org")
    lines = dkim("dns", "example.org").stdout.splitlines()
    zone = {
        (line.split(". IN TXT ( ")[0].lower(), "TXT"): [line.split("( ")[1].removesuffix(" )")]
        for line in lines
        if "IN TXT" in line
    }
    rsa, ed25519 = (
        "20270115-rsa._domainkey.example.org",
        "20270115-ed25519._domainkey.example.org",
    )
    with StubDns(zone) as server:
        right = command(server.port)
        assert (right.returncode, right.stdout) == (0, f"right {ed25519}\nright {rsa}\n")
        server.zone[ed25519, "TXT"] = ['"v=DKIM1; k=ed25519; p="']
        server.zone[rsa, "TXT"] = ['"v=DKIM1; p=AAAA"']
        wrong = command(server.port)
        assert wrong.returncode == 1
        assert f"wrong {ed25519}: the record has no key: it has been revoked" in wrong.stdout
        assert f"wrong {rsa}: the record has another key" in wrong.stdout
        del server.zone[rsa, "TXT"]
        server.zone[ed25519, "TXT"] = ['"v=DKIM1; p=AAAA"', '"v=DKIM1; p=BBBB"']
        missing = command(server.port)
        assert f"wrong {rsa}: there is no such record" in missing.stdout
        assert f"wrong {ed25519}: there are several records" in missing.stdout
        port = server.port
    silent = command(port)
    assert (silent.returncode, "DNS does not answer" in silent.stderr) == (75, True)


def test_reports_of_the_operator_are_signed(relay):
    """``mta queue bounce`` signs the report it makes."""
    relay.run("dkim", "generate", "example.org", "--type", "ed25519")
    one = relay.accept("b@example.com")
    assert relay.run("queue", "bounce", one, "--yes").exit_code == 0
    (trace,) = relay.json("trace", one)
    report = trace["reports"][0]
    name = report["id"] if isinstance(report, dict) else report
    sql = f"SELECT data FROM chunks WHERE message_id = '{name}'"
    content = bytes(relay.read(lambda conn: conn.exec_driver_sql(sql).scalar()))
    assert content.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256;")


def test_reports_when_the_key_may_not_be_read(local):
    """Whoever may not use the keys still bounces; the report goes unsigned, and that is told."""
    local.run("dkim", "generate", "example.org", "--type", "ed25519", "--selector", "s1")
    (local.directory / "dkim" / "example.org" / "s1.pem").chmod(0o644)
    one = local.accept("b@example.com")
    result = local.run("queue", "bounce", one, "--yes")
    assert (result.exit_code, "reports go unsigned: " in result.stderr) == (0, True)
    assert local.states(one) == ["bounced"]
