"""Gathering, sinks and rotation."""

import json
import os
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mta.log import sinks
from mta.log.mail_log import MailLog, Stamp
from mta.log.sinks import FileSink, SyslogSink
from mta.mail.events import Finished, Note


def test_lines_are_gathered_and_errors_are_not(tmp_path: Path) -> None:
    """Ordinary lines wait a tenth of a second; an error takes them along at once."""
    path = tmp_path / "mail.log"
    clock = Clock()
    log = MailLog(clock, [(FileSink(path), Stamp("relay", True))], now=lambda: 1_790_000_000.25)
    log(Finished("A"))
    assert path.read_text() == ""
    clock.advance(0.1)
    pid = os.getpid()
    first = f"2026-09-21T14:13:20.250Z relay mta/qmgr[{pid}]: A: removed\n"
    assert path.read_text() == first
    log(Finished("B"))
    log(Note("error", "spool", "the database is away"))
    assert path.read_text().splitlines()[2].endswith("]: error: the database is away")
    log.close()


def test_records_are_one_json_object_a_line(tmp_path: Path) -> None:
    """The JSON sink parses line by line."""
    path = tmp_path / "mail.jsonl"
    log = MailLog(Clock(), [], [FileSink(path)], now=lambda: 1.5)
    log(Finished("A"))
    log(Note("info", "service", "started\nnow"))
    log.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [made["type"] for made in records] == ["Finished", "Note"]
    assert records[0] == {"schema": 1, "type": "Finished", "event_time_ms": 1500, "id": "A"}


def test_a_record_cannot_be_obeyed_by_a_terminal(tmp_path: Path) -> None:
    """Attack: escapes, C1 controls and overrides of direction, for whoever looks at the file."""
    path = tmp_path / "mail.jsonl"
    log = MailLog(Clock(), [], [FileSink(path)], now=lambda: 1.5)
    text = "J\u00f6rg \x1b[2J \x9b2J \x7f \u202e \u2028 \U000e0001 \udc80"
    log(Note("info", "service", text))
    log.close()
    (line,) = path.read_text().split("\n")[:-1]
    assert line.isprintable()
    assert "J\u00f6rg" in line
    assert json.loads(line)["text"] == text


def test_rotation_by_rename_is_followed(tmp_path: Path) -> None:
    """After logrotate's rename, lines go to a new file of the old name."""
    path = tmp_path / "mail.log"
    sink = FileSink(path)
    sink.write(["one"])
    path.rename(tmp_path / "mail.log.1")
    sink.write(["two"])
    sink.close()
    assert (tmp_path / "mail.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_a_rotation_that_we_may_not_follow_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new file cannot be made (privileges were dropped), the old one goes on."""
    path = tmp_path / "mail.log"
    sink = FileSink(path)
    sink.write(["one"])
    path.rename(tmp_path / "mail.log.1")

    def refused() -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sink, "_open", refused)
    sink.write(["two"])
    monkeypatch.undo()
    sink.write(["three"])
    sink.close()
    assert (tmp_path / "mail.log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_syslog_gets_the_program_as_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line shows up as mta/smtpd[pid], as Postfix's do, and warnings have their priority."""
    heard: list[tuple[str, int, str]] = []
    tags: list[str] = []
    monkeypatch.setattr(sinks.syslog, "openlog", lambda tag, *_: tags.append(tag))
    monkeypatch.setattr(
        sinks.syslog, "syslog", lambda level, text: heard.append((tags[-1], level, text))
    )
    log = MailLog(Clock(), [(SyslogSink(), Stamp("relay", dated=False, process=False))])
    log(Finished("A"))
    log(Note("warning", "service", "careful: now"))
    log.close()
    assert heard == [
        ("mta/qmgr", sinks.syslog.LOG_INFO, "A: removed"),
        ("mta/service", sinks.syslog.LOG_WARNING, "warning: careful: now"),
    ]


def test_a_full_disk_is_counted_and_survived() -> None:
    """Lines that could not be written are counted, and nothing is raised."""
    sink = FileSink(Path("/dev/full"))
    sink.write(["one", "two"])
    sink.write(["three"])
    assert sink._lost == 3
    sink.close()
