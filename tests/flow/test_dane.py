"""DANE against a real signed DNS, real hosts, and what Postfix says of the same (``-s`` shows it).

Everything runs in a network and mount namespace of its own: NSD with the zones, signed by ldns,
Unbound validating, receiving hosts at port 25, one of them a Postfix, and this program's service.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dane_cases import CASES, Case
from receiver import Receiver
from relay_process import Relay, eventually, installed
from stub_dns import StubDns

SUPPORT = Path(__file__).parents[1] / "support"
PROGRAMS = ("nsd", "unbound", "ldns-signzone", "postfix", "posttls-finger", "ip", "unshare")
_NAMESPACE = ("unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork",
              "--kill-child", "--mount-proc")  # fmt: skip

# Together, for the world takes long to make
pytestmark = [pytest.mark.flow, pytest.mark.xdist_group("dane")]


def _hindrance() -> str:
    missing = [program for program in PROGRAMS if not installed(program)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    trial = subprocess.run([*_NAMESPACE, "true"], check=False, capture_output=True)
    if trial.returncode:
        return "no namespaces can be made here"
    return ""


@pytest.fixture(scope="module")
def world() -> dict[str, dict[str, object]]:
    """What came of each case, and what Postfix says of it."""
    if why := _hindrance():
        pytest.skip(why)
    # Not below pytest's own directory: Postfix's user has to get in, and pytest locks that anew
    with TemporaryDirectory(prefix="mta-dane-") as directory:
        Path(directory).chmod(0o755)
        found = subprocess.run(
            [*_NAMESPACE, sys.executable, str(SUPPORT / "dane_world.py"), directory],
            check=False, capture_output=True, text=True, timeout=140,
        )  # fmt: skip
    assert found.returncode == 0, found.stderr
    world: dict[str, dict[str, object]] = json.loads(found.stdout)
    _show(world)
    return world


def _show(world: dict[str, dict[str, object]]) -> None:
    """Print the table."""
    for case in CASES:
        seen = _seen(world, case)
        finger = str(world["fingers"][case.domain]).split(" to ")[0][:70]
        print(f"{case.domain:20} {case.about:52} {seen[0]:9} {seen[1]:10} {finger}")


def _seen(world: dict[str, dict[str, object]], case: Case) -> tuple[str, str, str]:
    """Return verdict, level and text of a case: reached where mail went, else required."""
    attempt: dict = world["attempts"][case.domain]  # type: ignore[assignment, type-arg]
    tls = (attempt["peer"] or {}).get("tls", {})
    level = tls.get("level" if attempt["verdict"] == "delivered" else "required", "")
    return attempt["verdict"], level, attempt["text"]


@pytest.mark.flow
@pytest.mark.timeout(170)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.domain)
def test_verdict(world: dict[str, dict[str, object]], case: Case) -> None:
    """What the standards ask for: neither more nor less."""
    verdict, level, text = _seen(world, case)
    assert (verdict, level) == (case.verdict, case.level)
    assert case.said in text


@pytest.mark.flow
@pytest.mark.timeout(170)
def test_postfix_agrees(world: dict[str, dict[str, object]]) -> None:
    """Where Postfix's client finds the host proved we do, and nowhere else."""
    proved = {case.domain for case in CASES if case.level == "dane" and case.verdict == "delivered"}
    # Of a host that unsigned MX records lead to, Postfix says no more than "trusted"
    words = ("Verified TLS connection", "Trusted TLS connection")
    found = {name for name, said in world["fingers"].items() if str(said).startswith(words)}
    assert found == proved


@pytest.mark.flow
@pytest.mark.timeout(170)
def test_the_recipe_for_three_in_the_morning(world: dict[str, dict[str, object]]) -> None:
    """A policy that observes, a reload, a retry: the mail goes, and what is missing is told."""
    attempt = world["recipe"]
    assert attempt["verdict"] == "delivered"
    tls: dict = attempt["peer"]["tls"]  # type: ignore[index, type-arg]
    assert (tls["required"], tls["level"]) == ("dane", "encrypted")
    assert tls["observed"].startswith("would have waited: the certificate matches none")


@pytest.mark.flow
def test_a_resolver_that_does_not_validate(
    relays: Callable[..., Relay], receivers: Callable[..., Receiver], name_server: StubDns
) -> None:
    """DANE is off, with an alarm in the log and in the status; mail goes, and nothing is stuck."""
    name_server.zone[("there.test", "SOA")] = ["a. b. 1 2 3 4 5"]
    receiver = receivers()
    relay = relays(receiver.port)
    text = relay.config.read_text()
    more = '\nvalidating = true\ntest_signed = "there.test"\ntest_every = "1s"'
    servers = f'servers = ["127.0.0.1:{name_server.port}"]'
    relay.config.write_text(text.replace(servers, servers + more))
    relay.start()
    eventually(lambda: "error: DANE is off: " in relay.log)
    relay.send(["u@there.test"], "not stuck")
    receiver.wait(1)

    def alarms() -> list[str]:
        status = json.loads(relay.mta("status", "--json").stdout)
        return [one["text"] for one in status["alarms"]]

    (alarm,) = alarms()
    assert "does not say that there.test, which is signed, is authentic" in alarm
    assert "alarm since" in relay.mta("status").stdout
