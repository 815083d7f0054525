"""``mta explain`` says beforehand what a real delivery then does: one answer, twice."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_filters import EveryChange, has_pymilter
from receiver import Receiver
from relay_process import LOGIN, Relay, eventually, free_port
from stub_dns import StubDns

pytestmark = pytest.mark.flow

SUPPORT = Path(__file__).parents[1] / "support"
Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

ROUTES = """
[[route]]
name = "trash"
recipient_domains = ["trash.test"]
discard = true

[[route]]
name = "closed"
recipient_domains = ["closed.test"]
error = { code = 550, text = "Closed for good" }

[[route]]
name = "provider"
recipient_domains = ["provider.test"]
smarthost = { host = "127.0.0.1", port = %(port)d, tls = "none" }

[[route]]
name = "home"
recipient_domains = ["boxes.test"]
maildir = { path = "%(directory)s/boxes/{local}" }

[[route]]
name = "store"
recipient_domains = ["store.test"]
lmtp = { host = "127.0.0.1", port = %(nobody)d }
"""
POLICY = """
[recipients]
refuse_null_mx = false  # what delivery does is compared

[retry]
steps = ["1s"]
jitter = 0.0

[[tls_policy]]
name = "strict"
recipient_domains = ["home.test"]
level = "verify"
"""
# Address, the status of --connect, and what stands in the way of TLS without it
CASES = {
    "u@there.test": 0,
    "u@nomail.test": 2,
    "u@nowhere.test": 2,
    "u@dead.test": 1,
    "u@trash.test": 0,
    "u@closed.test": 2,
    "u@provider.test": 0,
    "anna@boxes.test": 0,
    "bob@boxes.test": 2,
    "u@store.test": 1,
    "u@home.test": 1,
}


def explained(relay: Relay, address: str, *options: str) -> tuple[dict[str, Any], int]:
    """Ask the program."""
    done = relay.mta("explain", address, "--from", "app@relay.test", "--login", LOGIN, "--json",
                     *options, check=False)  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


def all_explained(relay: Relay) -> dict[str, tuple[dict[str, Any], int]]:
    """Ask about all cases."""
    about = ("--from", "app@relay.test", "--login", LOGIN, "--json", "--connect")
    done = {case: relay.mta("explain", case, *about, check=False) for case in CASES}
    return {case: (json.loads(one.stdout), one.returncode) for case, one in done.items()}


def first_attempts(relay: Relay) -> dict[str, dict[str, Any]]:
    """The first attempt of each message, by its recipient."""
    done = relay.mta("trace", "app@relay.test", "--json", check=False)
    traces = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        one["recipients"][0]["recipient"]: one["attempts"][0] for one in traces if one["attempts"]
    }


def make(relays: Relays, receiver: Receiver) -> Relay:
    """A relay with routes to everywhere."""
    relay = relays(receiver.port, extra=POLICY)
    (relay.directory / "boxes" / "anna").mkdir(parents=True)
    names = {"port": receiver.port, "directory": relay.directory, "nobody": free_port()}
    text = relay.config.read_text()
    at = text.index("\n[[route]]")
    relay.config.write_text(text[:at] + ROUTES % names + text[at:])
    return relay


def test_what_is_said_is_what_is_done(receivers: Receivers, relays: Relays) -> None:
    """Verdict, host, address, site, TLS required: explained and then delivered."""
    receiver = receivers()
    relay = make(relays, receiver)
    found = all_explained(relay)
    assert {address: status for address, (_, status) in found.items()} == CASES
    assert receiver.envelopes == []  # nothing was sent

    relay.start()
    for address in CASES:
        relay.send([address], "real", sender="app@relay.test")
    attempts: dict[str, dict[str, Any]] = {}

    def all_tried() -> bool:
        attempts.update(first_attempts(relay))
        return attempts.keys() >= CASES.keys()

    eventually(all_tried, step_s=1.0)
    for address, (said, _) in found.items():
        done = attempts[address]
        road = said["recipients"][0]
        outcome = road["outcomes"][0]
        assert outcome["verdict"] == done["verdict"], address
        assert place(outcome) == place(done), address
        if road["site"]["hosts"]:
            assert road["site"]["name"] == done["site"], address
        if outcome["verdict"] != "delivered":
            for key in ("code", "enhanced", "text", "command", "blame"):
                assert outcome[key] == done[key], (address, key)


def place(outcome: dict[str, Any]) -> Any:
    """Whom it was about, and how private that was or had to be."""
    peer = outcome["peer"]
    if peer is None:
        return None
    tls = peer["tls"]
    return peer["host"], peer["address"], peer["port"], tls["level"], tls["required"], tls["why"]


def test_without_connecting(receivers: Receivers, relays: Relays) -> None:
    """What nobody was asked about is no obstacle; routes passed over say why."""
    relay = make(relays, receivers())
    said, status = explained(relay, "u@home.test")
    assert (said["result"], status) == ("deliverable", 0)
    host = said["recipients"][0]["hosts"][0]
    assert (host["host"], host["addresses"], host["sessions"]) == (
        "mx.home.test",
        ["127.0.0.1"],
        [],
    )
    assert (host["tls"]["level"], host["tls"]["why"]) == ("verify", "tls_policy strict")
    passed = said["recipients"][0]["passed_over"]
    assert [one["name"] for one in passed] == ["trash", "closed", "provider", "home", "store"]
    assert "home.test is none of its recipient_domains: trash.test" in passed[0]["why"]
    assert said["signing"]["keys"] or said["signing"]["why_not"]


def test_dns_is_down(receivers: Receivers, relays: Relays) -> None:
    """Not now, and the words of a real attempt; within the time that was asked for."""
    relay = make(relays, receivers())
    text = relay.config.read_text()
    old = next(line for line in text.splitlines() if line.startswith("servers = "))

    def resolver(port: int, timeout: str) -> None:
        new = f'servers = ["127.0.0.1:{port}"]\ntimeout = "{timeout}"\nattempts = 1'
        relay.config.write_text(text.replace(old, new))

    resolver(free_port(), "1s")
    said, status = explained(relay, "u@there.test")
    assert status == 1
    (outcome,) = said["recipients"][0]["outcomes"]
    assert (outcome["verdict"], outcome["command"]) == ("deferred", "DNS")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver(silent.getsockname()[1], "30s")
        said, status = explained(relay, "u@there.test", "--timeout", "1")
    assert (status, said["timed_out"], said["result"]) == (1, True, "not now")


@pytest.mark.skipif(not has_pymilter(), reason="needs python3-milter for /usr/bin/python3")
def test_filters_are_asked_on_demand(receivers: Receivers, relays: Relays, tmp_path: Path) -> None:
    """Without --filters it is said who is not asked; with it the real filter has its say."""
    place = f"unix:{tmp_path}/filter/socket"
    table = f'\n[[milter]]\nname = "every"\nendpoint = "{place}"\n'
    relay = relays(receivers().port, extra=table)
    (tmp_path / "filter").mkdir()
    said, status = explained(relay, "refused@there.test")
    assert status == 0 and [one["asked"] for one in said["filters"]] == [False]
    words = relay.mta("explain", "refused@there.test", "--login", LOGIN, check=False).stdout
    assert (
        "every at unix:" in words and ": not asked here (--filters); mail is refused for" in words
    )
    said, status = explained(relay, "u@there.test", "--filters")
    assert (status, said["refused"]["stage"], said["refused"]["code"]) == (1, "MAIL", 451)
    every = EveryChange(tmp_path / "filter", place)
    try:
        said, status = explained(relay, "refused@there.test", "--filters")
        refused = said["refused"]
        assert (status, refused["stage"], refused["code"]) == (2, "RCPT", 550)
        assert (refused["enhanced"], refused["text"]) == ("5.1.1", "Nobody here of that name")
        assert every.heard == [{"aborted": True}]
        said, status = explained(relay, "u@there.test", "--filters")
        assert status == 0 and [one["asked"] for one in said["filters"]] == [True]
        eventually(lambda: len(every.heard) == 2)
        assert ["Subject", "rehearsal"] in every.heard[1]["headers"]
        assert every.heard[1]["macros"]["{auth_authen}"] == LOGIN
    finally:
        every.close()


LISTS = """
[[listener]]
name = "mx"
endpoint = "127.0.0.1:{port}"
tls = "none"
auth = "none"
incoming = true

[[domain]]
name = "corp.test"
recipients = ["ann"]

[[dnsbl]]
zone = "bl.test"

[[dnsbl]]
zone = "gone.test"
"""


def test_lists_of_clients_are_asked_on_demand(
    receivers: Receivers, relays: Relays, name_server: StubDns
) -> None:
    """A client that is listed is refused beforehand as in life; a list that fails is out of it."""
    name_server.zone["2.0.0.127.bl.test", "A"] = ["127.0.0.2"]
    name_server.zone["7.2.0.192.bl.test", "A"] = ["127.0.0.2"]
    relay = relays(receivers().port, extra=LISTS.format(port=free_port()))
    about = ("explain", "ann@corp.test", "--from", "x@else.test", "--listener", "mx")

    def asked(*more: str) -> tuple[str, int]:
        done = relay.mta(*about, *more, check=False)
        return " ".join(done.stdout.split()), done.returncode

    words, status = asked("--client", "192.0.2.7")
    assert "list: bl.test: 192.0.2.7 is not looked up here (--filters)" in words
    words, status = asked("--client", "192.0.2.7", "--filters")
    assert status == 2 and "refused: at RCPT: 550 5.7.1" in words
    assert "listed by bl.test: 192.0.2.7 (127.0.0.2)" in words
    assert "note: gone.test is out of force: 127.0.0.2, which is on every list" in words
    words, status = asked("--client", "192.0.2.8", "--filters")
    assert "refused" not in words.replace("mail is refused", "")


def test_for_people(receivers: Receivers, relays: Relays) -> None:
    """The answer in words, with the transcript, up to MAIL and no further."""
    relay = make(relays, receivers())
    done = relay.mta("explain", "u@there.test", "--connect")
    assert "route:        test-bed: to the mail exchangers" in done.stdout
    assert "> QUIT" in done.stdout
    assert "> MAIL" not in done.stdout
    assert done.stdout.rstrip().endswith("result:       deliverable")


RULES = """
[recipients]
forbidden = ["*@competitor.test"]

[[sender]]
name = "own"
addresses = ["app@relay.test"]

[[hold]]
name = "huge"
min_size = "200KiB"
"""


def answered(relay: Relay, sender: str, recipient: str) -> tuple[str, int, str]:
    """What a real client is refused: where, code and text; the text of RCPT if nothing is."""
    with relay.client() as client:
        client.ehlo()
        code, text = client.mail(sender)
        if code >= 400:
            return "MAIL", code, text.decode()
        code, text = client.rcpt(recipient)
        return "RCPT", code, text.decode()


def test_what_submission_says_is_what_is_said(receivers: Receivers, relays: Relays) -> None:
    """Each refusal that a real client hears is told beforehand, in its words; what is held, too."""
    relay = relays(receivers().port, extra=RULES)
    relay.mta("suppress", "add", "no@there.test", "--reason", "asked us to stop")
    relay.start()
    for sender, recipient in (
        ("app@relay.test", "u@there.test"),
        ("app@relay.test", "u@nomail.test"),
        ("app@relay.test", "u@competitor.test"),
        ("app@relay.test", "no@there.test"),
        ("boss@relay.test", "u@there.test"),
        ("app@relay.test", "u@label"),
    ):
        done = relay.mta("explain", recipient, "--from", sender, "--login", LOGIN, "--json",
                         check=False)  # fmt: skip
        refused = json.loads(done.stdout)["refused"]
        stage, code, text = answered(relay, sender, recipient)
        if code < 400:
            assert refused is None, (sender, recipient)
            continue
        assert done.returncode == 2
        assert (refused["stage"], refused["code"]) == (stage, code)
        assert f"{refused['enhanced']} {refused['text']}" == text
    said, status = explained(relay, "u@there.test", "--size", "300KiB")
    assert (status, said["held"]) == (1, "hold rule huge")
