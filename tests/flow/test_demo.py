"""The demonstration, as a person runs it: every scene is shown, and what it prints works."""

import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from relay_process import BIN, eventually, installed

pytestmark = pytest.mark.flow


def paste(text: str) -> Path:
    """Run what is there to be pasted, where the programs are; return the directory it names."""
    commands = [line for line in text.splitlines() if "mta-demo-" in line]
    assert [re.findall("swaks|curl|queue|trace", line)[0] for line in commands] == [
        *("swaks", "curl", "queue", "trace")
    ]
    for program, line in zip(("swaks", "curl", BIN / "mta", BIN / "mta"), commands, strict=True):
        if installed(str(program)):
            subprocess.run(line, shell=True, check=True, capture_output=True, timeout=30)
    found = re.search(r"\S+/mta-demo-[^/]+", commands[-1])
    assert found is not None
    return Path(found[0])


def runs(words: str) -> bool:
    """Tell whether a process has ``words`` in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if words.encode() in path.read_bytes():
                return True
    return False


def test_every_scene_is_shown_and_what_it_prints_works(tmp_path: Path) -> None:
    """All scenes come as plain lines; the printed commands send and trace; Ctrl-C ends it."""
    output = tmp_path / "output"
    with output.open("wb") as stream:
        demo = subprocess.Popen(
            [sys.executable, "-m", "mta", "demo", "--keep"], stdout=stream, stderr=stream
        )
    try:
        eventually(lambda: " trace ann@" in output.read_text() or demo.poll() is not None, 40)
        shown = output.read_text()
        for word in ("accepted", "delivered", "deferred", "bounced", "report", "finished"):
            assert re.search(rf"^ +{word}  1", shown, re.MULTILINE), shown
        assert "TLS verified (TLSv1.3)" in shown
        assert "\x1b" not in shown
        directory = paste(shown.split("Send your own")[1])
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert not directory.exists()
    assert not runs(str(directory)), "the service has outlived the demonstration"
