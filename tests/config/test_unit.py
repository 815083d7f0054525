"""The systemd unit: honest about readiness, and no tighter than the program can live with."""

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "etc" / "mta.service"


@pytest.fixture
def service() -> dict[str, str]:
    """The [Service] section; of a key given twice, the last."""
    parser = RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_start_and_stop(service: dict[str, str]):
    """Ready when it says so; a wrong configuration (78) is not started over and over."""
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["ExecStart"].endswith("--nodaemon --pidfile= mta --config /etc/mta/mta.toml")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_port_465_without_root(service: dict[str, str]):
    """One capability, and no way to get more."""
    assert service["User"] == "mta"
    assert service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "mta"


def test_callbacks_of_openssl_can_be_made(service: dict[str, str]):
    """With MemoryDenyWriteExecute= cffi cannot make pyOpenSSL's callbacks: every TLS would fail."""
    assert "MemoryDenyWriteExecute" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_understands_every_line(tmp_path: Path):
    """``systemd-analyze verify`` finds nothing to say of it."""
    unit = tmp_path / "mta.service"
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/mta/bin/twistd", "/bin/true"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
