"""Proxies before the relay: haproxy itself, and swaks in the place of others."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually, free_ports, installed

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

MESSAGE = "From: app@home.test\r\nTo: u@there.test\r\nSubject: {}\r\n\r\nHello.\r\n"


def run(*command: str) -> None:
    """Run a client; its whole output is the failure's explanation."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


_HAPROXY = """\
global
    stats timeout 5s
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend mail
    bind 127.0.0.1:{front}
    bind 127.0.0.1:{front_v1}
    use_backend v1 if {{ dst_port {front_v1} }}
    default_backend v2
backend v2
    option tcp-check
    server relay 127.0.0.1:{smtps} send-proxy-v2 check inter 500ms
backend v1
    server relay 127.0.0.1:{smtps} send-proxy source 127.0.0.2
"""

_PROXIED = """
[[listener]]
name = "fronted"
endpoint = "127.0.0.1:{port}"
tls = "implicit"
auth = "required"
proxy = ["127.0.0.1"]
"""


@pytest.mark.skipif(not installed("haproxy"), reason="haproxy is not installed")
def test_haproxy_stands_before_the_relay(
    tmp_path: Path, receivers: Receivers, relays: Relays
) -> None:
    """haproxy's header comes before TLS, in both versions; its own look at us is not refused.

    The second backend connects from an address that is not listed, and gets nowhere.
    """
    front, front_v1, smtps = free_ports(3)
    receiver = receivers()
    relay = relays(receiver.port, extra=_PROXIED.format(port=smtps))
    relay.start()
    settings = tmp_path / "haproxy.cfg"
    settings.write_text(_HAPROXY.format(front=front, front_v1=front_v1, smtps=smtps))
    log = (tmp_path / "haproxy.log").open("wb")
    haproxy = subprocess.Popen(["haproxy", "-db", "-f", str(settings)], stdout=log, stderr=log)
    try:
        eventually(lambda: "proxy=[127.0.0.1]" in relay.log)  # haproxy has looked: LOCAL
        client = relay.client(front, source="127.0.0.9")
        client.sendmail("app@home.test", ["u@there.test"], MESSAGE.format("fronted").encode())
        client.quit()
        receiver.wait(1)
        assert "([127.0.0.9])" in receiver.messages()[0]["Received"]
        eventually(
            lambda: "client=unknown[127.0.0.9], listener=fronted, proxy=[127.0.0.1]" in relay.log
        )
        with pytest.raises(OSError):
            relay.stranger(port=front_v1)
        eventually(lambda: "PROXY from unknown[127.0.0.2]: hung up" in relay.log)
    finally:
        haproxy.terminate()
        haproxy.wait(10)
        log.close()


@pytest.mark.skipif(not installed("swaks"), reason="swaks is not installed")
@pytest.mark.parametrize("version", ["1", "2"])
def test_swaks_speaks_for_others(version: str, receivers: Receivers, relays: Relays) -> None:
    """swaks sends PROXY headers and XCLIENT as proxies do; the message tells of the client."""
    fronted, introduced = free_ports(2)
    receiver = receivers()
    relay = relays(
        receiver.port,
        extra=_PROXIED.format(port=fronted)
        + f"""
[[listener]]
name = "introduced"
endpoint = "127.0.0.1:{introduced}"
tls = "none"
auth = "none"
trusted_networks = ["192.0.2.0/24"]
xclient = ["127.0.0.1"]
""",
    )
    relay.start()
    common = ("swaks", "--server", "127.0.0.1", "--from", "app@home.test", "--to", "u@there.test")
    data = ("--data", MESSAGE.format("swaks").replace("\r\n", "\\n"))
    run(
        *common, "--port", str(fronted), "--tls-on-connect",
        "--auth", "PLAIN", "--auth-user", LOGIN, "--auth-password", PASSWORD,
        "--proxy-version", version, "--proxy-family", "AF_INET" if version == "2" else "TCP4",
        "--proxy-source", "192.0.2.9", "--proxy-source-port", "4711",
        "--proxy-dest", "127.0.0.1", "--proxy-dest-port", str(fronted), *data,
    )  # fmt: skip
    run(
        *common, "--port", str(introduced),
        "--xclient-addr", "192.0.2.8", "--xclient-name", "app.home.test", *data,
    )  # fmt: skip
    receiver.wait(2)
    clients = {re.split(r"[()]", message["Received"])[1] for message in receiver.messages()}
    assert clients == {"[192.0.2.9]", "app.home.test [192.0.2.8]"}
