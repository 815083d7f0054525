"""From the names of the configuration to open sinks."""

import os
import socket
from pathlib import Path

from mta.log.mail_log import Stamp
from mta.log.sinks import FileSink, Sink, StandardErrorSink, SyslogSink, TwistdSink


def text_sinks(target: str | Path, *, foreground: bool) -> list[tuple[Sink, Stamp]]:
    """Open the sink for lines: "none", "stderr", "syslog" or a file; ``OSError`` if it cannot be.

    Standard error of a daemon is twistd's log.  Under systemd the journal dates lines.
    """
    host = socket.gethostname().partition(".")[0]
    if target == "none":
        return []
    if target == "syslog":
        return [(SyslogSink(), Stamp(host, dated=False, process=False))]
    if target != "stderr":
        return [(FileSink(Path(target)), Stamp(host, dated=True))]
    if not foreground:
        return [(TwistdSink(), Stamp(host, dated=False))]
    return [(StandardErrorSink(), Stamp(host, dated="JOURNAL_STREAM" not in os.environ))]


def record_sinks(target: str | Path, *, foreground: bool) -> list[Sink]:
    """Open the sink for JSON records, by the same names."""
    return [sink for sink, _ in text_sinks(target, foreground=foreground)]
