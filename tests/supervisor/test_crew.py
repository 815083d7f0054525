"""The workers' starts, deaths and ends, with processes that do as the test says."""

import errno
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.mail.events import Note
from mta.supervisor import crew
from mta.supervisor.crew import DOUBT_S, SILENT_S, Crew
from mta.supervisor.pipes import BEAT, SAY
from mta.supervisor.restarts import STEADY_S


class _Process:
    """A process as a transport: takes signals, ends when told."""

    def __init__(self, run: Any, pid: int, command: list[str], inherited: dict[int, Any]) -> None:
        self.run, self.pid, self.command, self.inherited = run, pid, command, inherited
        self.signals: list[int] = []
        self.over = False
        run.makeConnection(self)

    def signalProcess(self, number: int) -> None:
        if self.over:
            raise ProcessExitedAlready
        self.signals.append(number)

    def ready(self) -> None:
        self.run.childDataReceived(SAY, b"READY=1\nSTATUS=x\n")

    def end(self, status: int | None = None, number: int | None = signal.SIGKILL) -> None:
        self.over = True
        self.run.processEnded(Failure(ProcessTerminated(status, number, 0)))


class _Reactor(Clock):
    """Starts processes of the test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[_Process] = []
        self.fault: OSError | None = None

    def spawnProcess(
        self, run: Any, executable: str, command: list[str], environ: Any, path: Any, childFDs: Any
    ) -> None:
        assert "NOTIFY_SOCKET" not in environ
        if self.fault is not None:
            raise self.fault
        self.processes.append(_Process(run, 100 + len(self.processes), command, childFDs))


class _Register:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.buried: list[tuple[str, int]] = []
        self.missing: list[list[str]] = []
        self.alarms: dict[int, str] = {}

    def bury(self, node: str, pid: int) -> None:
        self.buried.append((node, pid))

    def down(self, nodes: Any) -> None:
        self.missing.append(list(nodes))

    def alarm(self, number: int, text: str) -> None:
        self.alarms[number] = text


class _Sockets:
    """Two listeners that are bound."""

    def descriptors(self, number: int) -> dict[str, int]:
        return {"--listener=smtps": 31, "--listener=smtp": 32, "--monitor": 40 + number}


class World:
    """Two workers and what happens to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
        self.reactor, self.register = _Reactor(), _Register()
        self.notes: list[Note] = []
        self.happened: list[object] = []
        self.obstacle = ""
        self.crew = Crew(
            self.reactor, Path("/etc/mta/mta.toml"), ["relay/1", "relay/2"],
            _Sockets(), self.register, self.notes.append,  # type: ignore[arg-type]
            daemon=False, obstacle=lambda: self.obstacle,
        )  # fmt: skip
        self.crew.when_complete = lambda: self.happened.append("complete")
        self.crew.when_reloaded = lambda: self.happened.append("reloaded")
        self.crew.when_hopeless = lambda status, words: self.happened.append((status, words))

    def started(self) -> "World":
        self.crew.start()
        return self

    @property
    def processes(self) -> list[_Process]:
        return self.reactor.processes

    def all_ready(self) -> None:
        for process in self.processes:
            process.ready()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two workers that have been started."""
    return World(monkeypatch).started()


def test_each_is_told_who_it_is_and_what_it_inherits(world: World):
    """The sockets of all, and a monitor of its own; standard output is the supervisor's."""
    first, second = world.processes
    assert first.command[4:] == [
        "--config=/etc/mta/mta.toml", "--node=relay/1",
        "--listener=smtps=5", "--listener=smtp=6", "--monitor=7",
    ]  # fmt: skip
    assert {k: v for k, v in first.inherited.items() if k > 2} == {
        3: "r", 4: "w", 5: 31, 6: 32, 7: 41,
    }  # fmt: skip
    assert (first.inherited[1], first.inherited[2]) == (1, 2)
    assert second.inherited[7] == 42


def test_ready_when_the_last_one_is(world: World):
    """One of two is not enough, and it is said once."""
    world.processes[0].ready()
    assert world.happened == []
    world.processes[1].ready()
    world.processes[0].ready()
    assert world.happened == ["complete"]


def test_a_death_gives_everything_back_and_starts_anew(world: World):
    """At once the first time; the claims of the dead process are given back by its number."""
    world.all_ready()
    world.processes[1].end()
    assert world.register.buried == [("relay/2", 101)]
    assert world.register.missing[-1] == ["relay/2"]
    assert len(world.processes) == 2
    world.reactor.advance(0)
    assert "--node=relay/2" in world.processes[2].command
    assert world.register.missing[-1] == []
    assert [note.level for note in world.notes] == ["warning"]


def test_deaths_in_a_row_raise_an_alarm_that_ends(world: World):
    """The third one does; a worker that has been ready for a minute takes it back."""
    world.all_ready()
    for pause_s in (0, 1, 2):
        world.processes[-1].end()
        world.reactor.advance(pause_s - 0.01 if pause_s else 0)
        world.reactor.advance(0.01)
        world.processes[-1].ready()
    assert "it is started again in 2 s (3 times in a row)" in world.register.alarms[2]
    assert world.notes[-1].level == "error"
    world.reactor.advance(STEADY_S)
    assert world.register.alarms[2] == ""
    world.processes[-1].end()
    assert "at once" in world.notes[-1].text


def test_one_that_is_never_ready_is_killed(world: World):
    """It counts as dead, and the other goes on."""
    world.processes[0].ready()
    world.reactor.advance(crew.START_S)
    assert world.processes[1].signals == [signal.SIGKILL]
    assert world.processes[0].signals == []


@pytest.mark.parametrize("status", [69, 73, 78])
def test_a_start_that_cannot_succeed_is_given_up(world: World, status: int):
    """A worker that says so before all have been ready ends the start with its own status."""
    world.processes[0].ready()
    world.processes[1].end(status, None)
    assert world.happened == [(status, f"worker relay/2 cannot run: exit status {status}")]
    world.reactor.advance(100)
    assert len(world.processes) == 2


def test_later_the_same_status_is_a_death_like_others(world: World):
    """The database may be away when a worker starts again: that passes."""
    world.all_ready()
    world.processes[1].end(69, None)
    world.reactor.advance(0)
    assert len(world.processes) == 3
    assert world.happened == ["complete"]


def test_an_obstacle_is_waited_for(world: World):
    """While the file is broken nothing is started, and it is looked at again and again."""
    world.all_ready()
    world.obstacle = "mta.toml: limits.message_sise: no such key"
    world.processes[0].end()
    world.reactor.pump([0, 1])
    assert len(world.processes) == 2
    assert "cannot start: mta.toml: limits" in world.register.alarms[1]
    world.obstacle = ""
    world.reactor.advance(10)
    assert len(world.processes) == 3


def test_a_process_that_cannot_be_made_is_tried_again(world: World):
    """No memory, no process ids: that passes too."""
    world.all_ready()
    world.reactor.fault = OSError(11, "Resource temporarily unavailable")
    world.processes[0].end()
    world.reactor.advance(0)
    assert ": Resource temporarily unavailable; it is started again" in world.notes[-1].text
    world.reactor.fault = None
    world.reactor.advance(1)
    assert len(world.processes) == 3


def test_a_program_that_may_not_be_run_ends_the_start(monkeypatch: pytest.MonkeyPatch):
    """An interpreter in a directory that is closed to ``--uid``: said once, with its path."""
    world = World(monkeypatch)
    world.reactor.fault = PermissionError(errno.EACCES, "Permission denied")
    world.crew.start()
    text = f"worker relay/1 cannot start: {sys.executable}: Permission denied"
    assert world.happened == [(69, text)]
    world.reactor.advance(100)
    assert [note.text for note in world.notes] == [text]


def test_a_program_that_is_away_later_is_waited_for(world: World):
    """While packages are being replaced the interpreter may be missing: that passes."""
    world.all_ready()
    world.reactor.fault = FileNotFoundError(errno.ENOENT, "No such file or directory")
    world.processes[0].end()
    world.reactor.advance(0)
    world.reactor.fault = None
    world.reactor.advance(1)
    assert len(world.processes) == 3
    assert world.happened == ["complete"]


def test_a_reload_is_over_when_all_have_done_it(world: World):
    """A worker that dies meanwhile is not waited for: its successor reads the file anyway."""
    world.all_ready()
    world.happened.clear()
    world.crew.reload()
    assert [process.signals for process in world.processes] == [[signal.SIGHUP]] * 2
    world.processes[0].ready()
    assert world.happened == []
    world.processes[1].end()
    assert world.happened == ["reloaded"]


def test_a_reload_reaches_a_worker_that_is_starting(world: World):
    """It may have read the old file: it is told when it is ready, and would die of it before."""
    world.processes[0].ready()
    world.crew.reload()
    assert [process.signals for process in world.processes] == [[signal.SIGHUP], []]
    world.processes[0].ready()
    world.processes[1].ready()
    assert world.processes[1].signals == [signal.SIGHUP]
    assert world.happened == ["complete"]
    world.processes[1].ready()
    assert world.happened == ["complete", "reloaded"]


def test_a_stop_waits_and_then_kills(world: World):
    """SIGTERM to all; who is still there after the bound is killed, and nobody is started."""
    world.all_ready()
    gone = world.crew.stop()
    assert [process.signals for process in world.processes] == [[signal.SIGTERM]] * 2
    world.processes[0].end(0, None)
    world.reactor.advance(crew.STOP_S)
    assert not gone.called
    assert world.processes[1].signals == [signal.SIGTERM, signal.SIGKILL]
    world.processes[1].end()
    assert gone.called
    world.reactor.advance(1000)
    assert len(world.processes) == 2


def test_a_stop_ends_although_a_process_cannot_be_killed(world: World):
    """One that hangs in the kernel does not keep the supervisor."""
    world.all_ready()
    gone = world.crew.stop()
    world.reactor.advance(crew.STOP_S)
    world.reactor.advance(crew.KILLED_S)
    assert gone.called


def test_one_that_hangs_after_it_was_ready_is_killed(world: World):
    """Its reactor says nothing for half a minute: it counts as dead; its fellow, who beats, not."""
    world.all_ready()
    hanging, beating = world.processes
    for _ in range(13):
        world.reactor.advance(2.5)
        beating.run.childDataReceived(SAY, f"{BEAT}\n".encode())
    assert hanging.signals == [signal.SIGKILL]
    assert beating.signals == []
    assert "worker relay/1 [100] hangs" in world.notes[-1].text
    hanging.end()
    world.reactor.advance(0)
    assert world.register.buried == [("relay/1", 100)]
    assert len(world.processes) == 3


def test_a_beat_that_is_read_late_counts(world: World):
    """The supervisor itself was stopped: its timers are due before it has read the pipes."""
    world.all_ready()
    world.reactor.advance(SILENT_S)
    for process in world.processes:
        process.run.childDataReceived(SAY, f"{BEAT}\n".encode())
    world.reactor.advance(DOUBT_S)
    assert [process.signals for process in world.processes] == [[], []]


def test_silence_at_the_end_is_none_of_its_business(world: World):
    """Whoever has been told to stop has the time of a stop."""
    world.all_ready()
    world.crew.stop()
    world.reactor.advance(SILENT_S + DOUBT_S)
    assert [process.signals for process in world.processes] == [[signal.SIGTERM]] * 2
